// Loaded before AWS's runtime client for Node, which runs as it is but for two things. Its native half has to be
// compiled: here are the three calls of it, over Node's own HTTP. And CDK's functions answer CloudFormation over
// HTTPS at port 443, wherever they were told to: LocalStack listens elsewhere, and without TLS.
"use strict";

const http = require("node:http");
const https = require("node:https");
const Module = require("node:module");

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
// With one connection each request waits for those before it: an answer is there before the next event is asked for.
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, body = "", headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { agent, hostname, port, method, path: `/2018-06-01/runtime/invocation/${path}` };
    const sent = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body), ...headers };
    const request = http.request({ ...options, headers: sent }, (response) => {
      let bodyJson = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => (bodyJson += chunk));
      response.on("end", () => resolve({ bodyJson, headers: response.headers }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

// Nobody waits for these: where the executor has gone, so will this process.
function post(path, body, headers) {
  call("POST", path, body, headers).catch(() => process.exit(1));
}

const client = {
  next: () => call("GET", "next"),
  done: (id, body) => post(`${id}/response`, body),
  error: (id, body, cause) => post(`${id}/error`, body, { "Lambda-Runtime-Function-XRay-Error-Cause": cause }),
};

const load = Module._load;
Module._load = function (request, ...rest) {
  return request === "./rapid-client.node" ? client : load.call(this, request, ...rest);
};

const endpoint = process.env.AWS_ENDPOINT_URL && new URL(process.env.AWS_ENDPOINT_URL);
const request = https.request;
https.request = function (options, ...rest) {
  const isOurs = endpoint && options.hostname === endpoint.hostname && !options.port;
  return isOurs ? http.request({ ...options, port: endpoint.port }, ...rest) : request.call(this, options, ...rest);
};
