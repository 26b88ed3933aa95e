"use strict";
// Writes a request as commands that work when they are pasted; a token is not part of them.
const Snippets = (() => {
  const LONGEST_ARGUMENT = 100_000; // bytes; Linux takes 128 KiB
  const LONGEST_PASTED = 200_000;
  const FILE = "body.json";
  const FILL = "def fill(shape, value):\n    return [fill(shape[1:], value) for _ in range(shape[0])] if shape else value\n";

  const isArgument = (text) => new TextEncoder().encode(text).length <= LONGEST_ARGUMENT;
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const unused = (text) => {
    let word = "JSON";
    while (text.split("\n").includes(word)) word += "_";
    return word;
  };

  // The body as an expression of Python; null for a text that is not JSON, or is nested too deeply to be read here.
  const expression = (body, ahead) => {
    try {
      return JsonText.problem(body) === "" ? JsonText.python(body, ahead) : null;
    } catch {
      return null;
    }
  };

  const curl = (url, body, withToken) => {
    const token = withToken ? ` \\\n  -H "authorization: Bearer $TOKEN"` : "";
    const start = `curl -H 'content-type: application/json'${token} \\\n  `;
    if (body.length > LONGEST_PASTED) return `# with the body in the file ${FILE}\n${start}--data-binary @${FILE} ${quoted(url)}`;
    const content = JsonText.hasFill(body) ? expression(body, 0) : null;
    if (content !== null) {
      const program = `import json\n${FILL}print(json.dumps(${content}))`;
      if (isArgument(program)) return `python3 -c ${quoted(program)} |\n${start}--data-binary @- ${quoted(url)}`;
      const end = unused(program);
      return `python3 - <<'${end}' | ${start}--data-binary @- ${quoted(url)}\n${program}\n${end}`;
    }
    if (isArgument(body)) return `${start}--data-raw ${quoted(body)} \\\n  ${quoted(url)}`;
    const end = unused(body);
    return `${start}--data-binary @- ${quoted(url)} <<'${end}'\n${body}\n${end}`;
  };

  const python = (url, body, withToken) => {
    const isLong = body.length > LONGEST_PASTED;
    const value = isLong ? null : expression(body, "body = ".length);
    const content = value ?? (isLong ? `open("${FILE}", encoding="utf-8").read()` : JsonText.pythonText(body));
    const fill = value !== null && JsonText.hasFill(body) ? `\n\n${FILL}\n\n` : "\n";
    const headers = [`"content-type": "application/json"`];
    if (withToken) headers.push(`"authorization": f"Bearer {os.environ['TOKEN']}"`);
    return [
      `import json\n${withToken ? "import os\n" : ""}import urllib.error\nimport urllib.request\n${fill}body = ${content}`,
      "request = urllib.request.Request(",
      `    ${JsonText.pythonText(url)},`,
      `    ${value === null ? "body" : "json.dumps(body)"}.encode(),`,
      `    {${headers.join(", ")}},`,
      ")",
      "try:",
      "    with urllib.request.urlopen(request) as answer:",
      "        print(answer.read().decode(errors='replace'))",
      "except urllib.error.HTTPError as error:",
      "    raise SystemExit(error.read().decode(errors='replace')) from None",
      "",
    ].join("\n");
  };

  return { curl, python };
})();
