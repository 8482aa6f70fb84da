/**
 * OpenAPI for the routes outside management, written by hand: they run on raw server routes and
 * speak formats that other companies define, so that there is no schema of ours to print.
 */

const MODEL = "gpt-4o-mini";
const openAiError = { $ref: "#/components/responses/OpenAiError" };
const anyObject = { type: "object", additionalProperties: true };
const gatewayProblems = Object.fromEntries(
  [400, 401, 402, 403, 404, 413, 500, 502, 503, 504].map((status) => [status, openAiError]),
);

export const gatewayPaths = {
  "/v1/chat/completions": {
    post: {
      operationId: "postChatCompletions",
      summary: "Create a chat completion",
      description:
        "As OpenAI defines it; unknown fields pass. The most the call can cost is reserved " +
        "first, and the real cost is booked before the end of the answer is delivered.",
      tags: ["Gateway"],
      security: [{ apiKey: [] }],
      parameters: [],
      requestBody: {
        required: true,
        content: {
          "application/json": {
            schema: { $ref: "#/components/schemas/ChatRequest" },
            example: {
              model: MODEL,
              messages: [{ role: "user", content: "Say hello." }],
              max_tokens: 64,
              stream: false,
            },
          },
        },
      },
      responses: {
        200: {
          description: "The provider's answer, as JSON or as a stream of events.",
          headers: {
            "x-request-id": { $ref: "#/components/headers/RequestId" },
            "x-spendra-reservation-id": { schema: { type: "string" } },
            "x-spendra-cost-usd": {
              description: "What the call cost; streamed answers say it at their end.",
              schema: { type: "string" },
            },
            "x-spendra-budget-remaining-usd": { schema: { type: "string" } },
          },
          content: {
            "application/json": {
              schema: anyObject,
              example: {
                id: "chatcmpl-1",
                object: "chat.completion",
                model: MODEL,
                choices: [
                  {
                    index: 0,
                    message: { role: "assistant", content: "Hello." },
                    finish_reason: "stop",
                  },
                ],
                usage: { prompt_tokens: 10, completion_tokens: 3, total_tokens: 13 },
              },
            },
            "text/event-stream": {
              schema: { type: "string" },
              example: 'data: {"choices":[{"delta":{"content":"Hello."}}]}\n\ndata: [DONE]\n\n',
            },
          },
        },
        ...gatewayProblems,
      },
    },
  },
  "/v1/models": {
    get: {
      operationId: "getModels",
      summary: "List the models that the key may use",
      tags: ["Gateway"],
      security: [{ apiKey: [] }],
      parameters: [],
      responses: {
        200: {
          description: "The models.",
          content: {
            "application/json": {
              schema: anyObject,
              example: {
                object: "list",
                data: [{ id: MODEL, object: "model", created: 0, owned_by: "openai" }],
              },
            },
          },
        },
        401: openAiError,
        503: openAiError,
      },
    },
  },
  "/v1/budget": {
    get: {
      operationId: "getBudget",
      summary: "What the key has left",
      description: "Every budget and rate limit that can apply to its calls, of one moment, exact.",
      tags: ["Gateway"],
      security: [{ apiKey: [] }],
      parameters: [],
      responses: {
        200: {
          description: "The budgets and rate limits.",
          content: {
            "application/json": {
              schema: anyObject,
              example: { object: "budget_report", budgets: [], rate_limits: [] },
            },
          },
        },
        401: openAiError,
        403: openAiError,
        503: openAiError,
      },
    },
  },
  "/health": health("getHealth", "Whether the process answers", "Does no input or output."),
  "/health/live": health("getHealthLive", "Whether the process is alive", "Its event loop turns."),
  "/health/ready": {
    get: {
      ...health("getHealthReady", "Whether it may be sent traffic", "Asks what it depends on.").get,
      responses: {
        200: { description: "Ready.", content: { "application/json": { schema: anyObject } } },
        503: { description: "Not ready.", content: { "application/json": { schema: anyObject } } },
      },
    },
  },
};

export const gatewayComponents = {
  schemas: {
    ChatRequest: {
      type: "object",
      required: ["model", "messages"],
      additionalProperties: true,
      properties: {
        model: { type: "string", example: MODEL },
        messages: { type: "array", minItems: 1, items: anyObject },
        max_tokens: { type: "integer", minimum: 1 },
        max_completion_tokens: { type: "integer", minimum: 1 },
        n: { type: "integer", minimum: 1 },
        stream: { type: "boolean" },
        stream_options: {
          type: "object",
          additionalProperties: true,
          properties: { include_usage: { type: "boolean" } },
        },
      },
    },
  },
  responses: {
    OpenAiError: {
      description: "Refused or failed, in OpenAI's format.",
      headers: { "x-request-id": { $ref: "#/components/headers/RequestId" } },
      content: {
        "application/json": {
          schema: {
            type: "object",
            required: ["error"],
            properties: {
              error: {
                type: "object",
                required: ["message", "type", "code"],
                properties: {
                  message: { type: "string" },
                  type: { type: "string" },
                  code: { type: "string" },
                  param: { type: "string", nullable: true },
                  request_id: { type: "string" },
                  details: { type: "object", nullable: true, additionalProperties: true },
                },
              },
            },
          },
          example: {
            error: {
              message: "A hard cap has no room for this request.",
              type: "insufficient_quota",
              code: "budget_exceeded",
              param: null,
              request_id: "req_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
              details: null,
            },
          },
        },
      },
    },
  },
};

function health(operationId: string, summary: string, description: string) {
  return {
    get: {
      operationId,
      summary,
      description,
      tags: ["Health"],
      security: [],
      parameters: [],
      responses: {
        200: { description: "Yes.", content: { "application/json": { schema: anyObject } } },
      },
    },
  };
}
