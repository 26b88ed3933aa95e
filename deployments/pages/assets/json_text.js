"use strict";
// Works on JSON as text, so that no number loses digits: a parser rounds large ones, and forgets that 1.0 is a float.
// {"$fill": [2, 3], "value": 0.5} stands for a nested list of that shape; it is written out when it is sent.
const JsonText = (() => {
  const WIDTH = 76;
  const MOST_FILLED = 20_000_000;
  const MOST_CHARACTERS = 200_000_000;
  const DEEPEST_PYTHON = 90; // Python reads 200 brackets in each other, in other places fewer
  const LONGEST_NUMBER = 4000; // digits of an int that Python reads
  const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s"[\]{},:]+/g;
  const FILL =
    /\{\s*"\$fill"\s*:\s*\[((?:\s*\d+\s*,)*\s*\d+\s*)\]\s*,\s*"value"\s*:\s*("(?:[^"\\]|\\.)*"|\{\s*"b64"\s*:\s*"[^"\\]*"\s*\}|[^\s"[\]{},]+)\s*\}/g;

  const read = (text) => {
    const tokens = text.match(TOKEN);
    let place = 0;
    const value = () => {
      const token = tokens[place++];
      if (token !== "[" && token !== "{") return { token };
      const close = token === "[" ? "]" : "}";
      const items = [];
      while (tokens[place] !== close) {
        if (tokens[place] === ",") place++;
        const key = token === "{" ? tokens[place] : null;
        if (key !== null) place += 2;
        items.push({ key, value: value() });
      }
      place++;
      return { open: token, close, items };
    };
    return value();
  };

  const written = (node) => inOneLine(node, (token) => token);
  const isFill = (node) =>
    node.open === "{" && node.items.length === 2 && node.items[0].key === '"$fill"' && written(node).replace(FILL, "") === "";

  const started = (item, word) => (item.key === null ? "" : `${word(item.key)}: `);

  const inOneLine = (node, word) => {
    if (!node.items) return word(node.token);
    if (word.fill && isFill(node)) return word.fill(...node.items.map((one) => inOneLine(one.value, word)));
    const items = node.items.map((one) => started(one, word) + inOneLine(one.value, word));
    return node.open + items.join(", ") + node.close;
  };

  const packed = (texts, indent) => {
    const lines = [""];
    for (const text of texts) {
      const line = lines[lines.length - 1];
      if (line && indent.length + line.length + text.length > WIDTH) lines.push(text);
      else lines[lines.length - 1] = line ? `${line} ${text}` : text;
    }
    return lines.map((one) => indent + one).join("\n");
  };

  const inLines = (node, word, indent, ahead) => {
    const line = inOneLine(node, word);
    if (ahead + line.length <= WIDTH || !node.items || !node.items.length || isFill(node)) return line;
    const inside = `${indent}  `;
    if (node.open === "[" && node.items.every((one) => !one.value.items)) {
      const texts = node.items.map((one, place) => word(one.value.token) + (place < node.items.length - 1 ? "," : ""));
      return `[\n${packed(texts, inside)}\n${indent}]`;
    }
    const items = node.items.map((one) => {
      const start = inside + started(one, word);
      return start + inLines(one.value, word, inside, start.length + 1);
    });
    return `${node.open}\n${items.join(",\n")}\n${indent}${node.close}`;
  };

  // JSON with line breaks where they help; the text must be JSON.
  const pretty = (text) => inLines(read(text), (token) => token, "", 0);

  const pythonText = JSON.stringify; // each of its texts is one of Python too
  const WORDS = { true: "True", false: "False", null: "None" };
  const pythonWord = (token) => {
    if (token.startsWith('"')) return pythonText(JSON.parse(token));
    if (token === "-0" || token.length > LONGEST_NUMBER || Math.abs(Number(token)) === Infinity) {
      throw new RangeError(`Python writes ${token} in another way`);
    }
    return WORDS[token] ?? token;
  };
  pythonWord.fill = (shape, value) => `fill(${shape}, ${value})`;

  const depth = (node) => 1 + (node.items ?? []).reduce((most, one) => Math.max(most, depth(one.value)), 0);

  // The same value as an expression of Python; throws RangeError for one that Python does not read, or not as it is.
  const python = (text, ahead = 0) => {
    const node = read(text);
    if (depth(node) > DEEPEST_PYTHON) throw new RangeError("nested too deeply for Python");
    return inLines(node, pythonWord, "", ahead);
  };

  const hasFill = (text) => text.search(FILL) >= 0;

  // JSON in which every $fill is written out; throws RangeError where all of them are too long.
  const writtenOut = (text) => {
    let [count, characters] = [0, 0];
    return text.replace(FILL, (_, shape, value) => {
      const lengths = shape.split(",").map(Number);
      const more = lengths.reduce((product, one) => product * Math.max(one, 1), 1); // lists without values count too
      count += more;
      characters += more * (value.length + 1);
      if (count > MOST_FILLED) throw new RangeError(`${count.toLocaleString("en")} values are too many for this page`);
      if (characters > MOST_CHARACTERS) throw new RangeError(`${characters.toLocaleString("en")} characters are too many for this page`);
      return lengths.reduceRight((inner, one) => `[${Array(one).fill(inner).join(",")}]`, value);
    });
  };

  // What is wrong with a text; empty for JSON.
  const problem = (text) => {
    try {
      JSON.parse(text);
      return "";
    } catch (error) {
      return error.message;
    }
  };

  return { MOST_FILLED, pretty, python, pythonText, hasFill, writtenOut, problem };
})();
