// The Lambda Runtime API for Node, as small as it can be: one connection kept alive, one invocation after another. It stands
// in for the managed runtime's own client, which is native code and cannot be had without building it; it does less than that.

import { Agent, request } from "node:http";
import { handler } from "./handler.mjs";

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const asked = request({ hostname, port, agent, method, path: `/2018-06-01/runtime/${path}`, headers }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("error", reject);
      answer.on("end", () => resolve({ headers: answer.headers, text: Buffer.concat(parts).toString() }));
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

for (;;) {
  const { headers, text } = await call("GET", "invocation/next");
  const id = headers["lambda-runtime-aws-request-id"];
  try {
    const answer = await handler(JSON.parse(text));
    await call("POST", `invocation/${id}/response`, JSON.stringify(answer));
  } catch (error) {
    const told = { errorMessage: String(error?.message), errorType: String(error?.name), stackTrace: [] };
    await call("POST", `invocation/${id}/error`, JSON.stringify(told));
  }
}
