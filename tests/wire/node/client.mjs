// The openai package against a gateway: `node client.mjs URL PACKAGES` prints what it got as one line of JSON.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [url, packages] = process.argv.slice(2);
const found = createRequire(pathToFileURL(`${packages}/package.json`)).resolve("openai");
const { default: OpenAI } = await import(pathToFileURL(found).href);
const mesh = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const model = "tiny";
const messages = [{ role: "user", content: "Hello" }];

const whole = await mesh.chat.completions.create({ model, messages });
let streamed = "";
let usage = null;
const stream = await mesh.chat.completions.create({
  model, messages, stream: true, stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}

const response = await mesh.responses.create({ model, input: "Hello" });
let events = "";
for await (const event of await mesh.responses.create({ model, input: "Hello", stream: true })) {
  if (event.type === "response.output_text.delta") events += event.delta;
}

const models = [];
for await (const one of mesh.models.list()) models.push(one.id);

let refused = null;
try {
  await mesh.chat.completions.create({ model, messages, temperature: 9 });
} catch (error) {
  refused = { kind: error.constructor.name, status: error.status, param: error.param, code: error.code };
}

console.log(JSON.stringify({
  whole: whole.choices[0].message.content,
  streamed,
  output_tokens: usage.completion_tokens,
  response: response.output_text,
  events,
  models,
  refused,
}));
