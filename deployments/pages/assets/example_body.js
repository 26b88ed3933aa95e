"use strict";
// Makes bodies that a signature accepts: of the right types and shapes, with one row, and short also for large shapes.
const ExampleBody = (() => {
  const MOST_VALUES = 48;
  const MOST_SENT = JsonText.MOST_FILLED;
  const PREDICT = "tensorflow/serving/predict";
  const EXAMPLE_METHODS = { "tensorflow/serving/classify": "classify", "tensorflow/serving/regress": "regress" };
  const DEFAULT_SIGNATURE = "serving_default";
  const FLOATS = { DT_HALF: "FP16", DT_BFLOAT16: "BF16", DT_FLOAT: "FP32", DT_DOUBLE: "FP64" };
  const INTEGERS = {
    DT_INT8: "INT8", DT_INT16: "INT16", DT_INT32: "INT32", DT_INT64: "INT64",
    DT_UINT8: "UINT8", DT_UINT16: "UINT16", DT_UINT32: "UINT32", DT_UINT64: "UINT64",
    DT_QINT8: "INT8", DT_QUINT8: "UINT8", DT_QINT16: "INT16", DT_QUINT16: "UINT16", DT_QINT32: "INT32",
  };
  // What version 1 reads from JSON, as TensorFlow Serving does; it refuses signatures without inputs, too.
  const VERSION_1 = new Set(
    "FLOAT DOUBLE INT8 INT16 INT32 INT64 UINT8 UINT32 UINT64 BOOL STRING".split(" ").map((name) => `DT_${name}`),
  );
  const IMAGE = /image|img|jpe?g|png|picture|photo/i;
  // A picture of one pixel, which the decoders of all frameworks take.
  const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC";
  const TEXT_BYTES = "dGV4dA==";

  // [[name, {dtype, shape}], ...] of the inputs or outputs of a signature; shape is null where the rank is not known.
  const tensors = (described) =>
    Object.entries(described ?? {}).map(([name, one]) => {
      const { unknown_rank: unknown, dim } = one.tensor_shape ?? {};
      return [name, { dtype: one.dtype ?? "", shape: unknown ? null : (dim ?? []).map(({ size }) => Number(size)) }];
    });

  const sample = (name, dtype) => {
    if (dtype in FLOATS) return "1.0";
    if (dtype in INTEGERS) return "1";
    if (dtype === "DT_BOOL") return "true";
    if (dtype !== "DT_STRING") throw new TypeError(`values of type ${dtype} cannot be written in JSON`);
    if (IMAGE.test(name)) return `{"b64": "${PIXEL}"}`;
    return name.endsWith("_bytes") ? `{"b64": "${TEXT_BYTES}"}` : '"text"';
  };

  const lengths = (shape) => shape.map((one) => (one < 0 ? 1 : one));
  const size = (shape) => lengths(shape).reduce((product, one) => product * one, 1);
  const nested = (value, shape) => {
    const most = lengths(shape).reduce((product, one) => product * Math.max(one, 1), 1); // lists without values count too
    if (most > MOST_SENT) throw new RangeError(`its ${most.toLocaleString("en")} values are too many for this page`);
    if (size(shape) > MOST_VALUES) return `{"$fill": [${lengths(shape).join(", ")}], "value": ${value}}`;
    return lengths(shape).reduceRight((inner, one) => `[${Array(one).fill(inner).join(", ")}]`, value);
  };

  const object = (members) => `{${members.map(([key, value]) => `${JSON.stringify(key)}: ${value}`).join(", ")}}`;
  const chosen = (signature) => (signature === DEFAULT_SIGNATURE ? [] : [["signature_name", JSON.stringify(signature)]]);

  const hasRows = (inputs) => inputs.length > 0 && inputs.every(([, { shape }]) => shape === null || shape[0] === -1);

  const rows = (signature, inputs) => {
    const values = inputs.map(([name, { dtype, shape }]) => [name, nested(sample(name, dtype), (shape ?? [-1]).slice(1))]);
    const row = values.length === 1 ? values[0][1] : object(values);
    return object([...chosen(signature), ["instances", `[${row}]`]]);
  };

  const columns = (signature, inputs) => {
    const values = inputs.map(([name, { dtype, shape }]) => [name, nested(sample(name, dtype), shape ?? [])]);
    return object([...chosen(signature), ["inputs", object(values)]]);
  };

  // Which features an Example holds is not in a signature; the inputs of the others often have their names.
  const features = (signatures) => {
    for (const { method_name: method, inputs } of Object.values(signatures)) {
      const known = tensors(inputs).filter(([, { dtype }]) => dtype in FLOATS || dtype in INTEGERS);
      if (method === PREDICT && known.length) return known.map(([name, { dtype }]) => [name, sample(name, dtype)]);
    }
    return [["feature", "1.0"]];
  };

  const v2Input = (name, { dtype, shape }) => {
    const datatype = FLOATS[dtype] ?? INTEGERS[dtype] ?? (dtype === "DT_BOOL" ? "BOOL" : "BYTES");
    const value = dtype === "DT_STRING" ? '"text"' : sample(name, dtype);
    const long = lengths(shape ?? []);
    const data = nested(value, [size(long)]);
    return object([
      ["name", JSON.stringify(name)], ["shape", `[${long.join(", ")}]`],
      ["datatype", `"${datatype}"`], ["data", data],
    ]);
  };

  const v2 = (signature, inputs) => {
    const parameters = signature === DEFAULT_SIGNATURE ? [] : [["parameters", object(chosen(signature))]];
    return object([...parameters, ["inputs", `[${inputs.map(([name, one]) => v2Input(name, one)).join(", ")}]`]]);
  };

  // The requests that a signature takes: [[name, text for people], ...], the usual one first.
  const methods = ({ method_name: method, inputs }) => {
    const byExamples = Object.hasOwn(EXAMPLE_METHODS, method) && EXAMPLE_METHODS[method];
    if (byExamples) return [[byExamples, byExamples]];
    const all = tensors(inputs);
    if (!all.length || !all.every(([, { dtype }]) => VERSION_1.has(dtype))) return [["v2", "infer (version 2)"]];
    const byRows = hasRows(all) ? [["rows", "predict, by rows"]] : [];
    return [...byRows, ["columns", "predict, by inputs"], ["v2", "infer (version 2)"]];
  };

  // A body for a request; throws TypeError for a signature whose inputs JSON has no form for, RangeError for one that
  // wants more than a page can send.
  const body = (method, signature, signatures) => {
    const inputs = tensors(signatures[signature].inputs);
    const makers = { rows, columns, v2 };
    const text =
      method in makers
        ? makers[method](signature, inputs)
        : object([...chosen(signature), ["examples", `[${object(features(signatures))}]`]]);
    return JsonText.pretty(text);
  };

  // How many values the inputs of a signature hold in the example.
  const values = (signature) => tensors(signature.inputs).reduce((sum, [, { shape }]) => sum + size(shape ?? []), 0);

  // The names of the signatures that can be called, the usual one first.
  const callable = (signatures) =>
    Object.keys(signatures)
      .filter((name) => name !== "__saved_model_init_op")
      .sort((a, b) => (b === DEFAULT_SIGNATURE) - (a === DEFAULT_SIGNATURE) || (a < b ? -1 : 1));

  return { tensors, methods, body, values, callable };
})();
