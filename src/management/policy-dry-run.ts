/** What a call of a key would be told: `POST /policies/dry-run`. */
import { z } from "zod";
import { type DryRun, type DryRunAsk, dryRun } from "../budgets/dry-run.ts";
import { openBuiltInPriceBook } from "../catalog/built-in.ts";
import type { PriceBook } from "../catalog/model-price.ts";
import { errorCatalogue } from "../errors.ts";
import type { TokenBounds } from "../pricing/upper-bound.ts";
import { openAi } from "../providers/openai.ts";
import type { Dependencies } from "./dependencies.ts";
import { type Endpoint, noParams, noQuery } from "./endpoint.ts";
import { idField, modelField, providerField, usd, usdOrNull } from "./fields.ts";
import { memberEndpoint } from "./member-endpoint.ts";
import { POLICY_MODES } from "./policy-answer.ts";

const API_KEY_EXAMPLE_ID = "key_01KAJ3M2YV8Q4T6W9ZB5C7D1E2";
/** Far above any context window, and exact in JSON. */
const TOKENS_MAX = 1_000_000_000;
const CHOICES_MAX = 128;

const SEARCHES = "searches cannot be tried: give promptTokensMax and completionTokensMax instead";

const textPart = z.looseObject({
  type: z.enum(["text", "refusal"], {
    error: "only text can be tried: give promptTokensMax and completionTokensMax instead",
  }),
});

/** A chat completion of text, as an application sends it. */
const chatField = z
  .looseObject({
    model: modelField.refine((model) => !/-search-/.test(model), SEARCHES),
    messages: z
      .array(z.looseObject({ content: z.union([z.string(), z.array(textPart)]).nullish() }))
      .min(1),
    max_tokens: z.int().positive().max(TOKENS_MAX).nullish(),
    max_completion_tokens: z.int().positive().max(TOKENS_MAX).nullish(),
    n: z.int().positive().max(CHOICES_MAX).nullish(),
    web_search_options: z.null(SEARCHES).optional(),
    audio: z.null("only text can be tried").optional(),
  })
  .meta({ description: "A chat completion of text. Neither sent nor kept." });

const tokensField = z.int("must be a whole number").min(0).max(TOKENS_MAX);

const dryRunBody = z
  .strictObject({
    apiKeyId: idField("apiKey", API_KEY_EXAMPLE_ID),
    provider: providerField.default(openAi.id),
    chat: chatField.optional(),
    model: modelField.optional(),
    promptTokensMax: tokensField.optional(),
    completionTokensMax: tokensField.optional(),
  })
  .superRefine((body, context) => {
    const given = { model: body.model, promptTokensMax: body.promptTokensMax };
    for (const [field, value] of Object.entries(given)) {
      if ((body.chat === undefined) === (value === undefined)) {
        const message =
          body.chat === undefined ? "is needed without chat" : "is said by chat: leave it out";
        context.addIssue({ code: "custom", path: [field], message });
      }
    }
    if (body.chat !== undefined && body.completionTokensMax !== undefined) {
      const path = ["completionTokensMax"];
      context.addIssue({ code: "custom", path, message: "is said by chat: leave it out" });
    }
  });

const dryRunAnswer = z.strictObject({
  wouldBe: z.enum(["granted", "refused"]),
  status: z.int().nullable().meta({ description: "Of the refusal; null when it is granted." }),
  code: z.enum(Object.keys(errorCatalogue)).nullable(),
  message: z.string().nullable(),
  boundUsd: usd.nullable().meta({
    description: "The most that the call can cost, which would be held. Null without a price.",
  }),
  steps: z.array(
    z.strictObject({
      check: z.string().meta({ description: "hard_cap, allowlist, review, key, price, …" }),
      policyId: z.string().nullable(),
      name: z.string().nullable(),
      mode: z.enum(POLICY_MODES),
      verdict: z.enum(["passes", "refuses", "counts"]),
      code: z.string().nullable(),
      message: z.string(),
    }),
  ),
});

const example: z.output<typeof dryRunAnswer> = {
  wouldBe: "refused",
  status: 402,
  code: "budget_exceeded",
  message: 'The budget "Platform team" has $0.01 left.',
  boundUsd: "0.02",
  steps: [
    {
      check: "hard_cap",
      policyId: "pol_01KAJ3M2YV8Q4T6W9ZB5C7D1E2",
      name: "Platform team may not pass its budget",
      mode: "enforced",
      verdict: "refuses",
      code: "budget_exceeded",
      message: 'The budget "Platform team" has $0.01 left.',
    },
  ],
};

export function dryRunEndpoint(dependencies: Dependencies): Endpoint {
  // Opened by the first who asks: most never do.
  let priceBook: PriceBook | null = null;
  return memberEndpoint(dependencies, {
    method: "POST",
    path: "/dry-run",
    summary: "Try a call",
    description:
      "Which checks and policies a call of a key meets, in their order, what each says and what " +
      "the answer would be. Nothing is held and no provider is called. Give a chat completion, " +
      "or model, promptTokensMax and completionTokensMax.",
    params: noParams,
    query: noQuery,
    body: dryRunBody,
    bodyExample: {
      apiKeyId: API_KEY_EXAMPLE_ID,
      model: "gpt-4o-mini",
      promptTokensMax: 1_000,
      completionTokensMax: 500,
    },
    capabilities: ["policy.read"],
    answer: dryRunAnswer,
    answerExample: example,
    run: async ({ body, member, now }) => {
      const { apiKeyId, provider } = body;
      const organizationId = member.organization.id;
      const model = body.chat?.model ?? body.model ?? "";
      const ask = { organizationId, apiKeyId, provider, model, boundsOf: boundsOf(body) };
      priceBook ??= openBuiltInPriceBook([openAi.id]);
      return toAnswer(await dryRun(dependencies.sql, priceBook, ask, now));
    },
  });
}

/** As the gateway bounds a call of text: a token is at least a byte of the body. */
function boundsOf(body: z.output<typeof dryRunBody>): DryRunAsk["boundsOf"] {
  const { chat, promptTokensMax = 0, completionTokensMax } = body;
  return (contextTokensMax, completionDefault): TokenBounds => {
    const bytes = chat === undefined ? promptTokensMax : Buffer.byteLength(JSON.stringify(chat));
    const prompt = BigInt(bytes);
    const named = Math.max(chat?.max_completion_tokens ?? 0, chat?.max_tokens ?? 0);
    const perChoice = named === 0 ? completionDefault : BigInt(named);
    return {
      promptTokensMax:
        contextTokensMax !== null && contextTokensMax < prompt ? contextTokensMax : prompt,
      completionTokensMax:
        completionTokensMax === undefined
          ? perChoice * BigInt(chat?.n ?? 1)
          : BigInt(completionTokensMax),
      searchesMax: 0n,
      hasAudio: false,
    };
  };
}

function toAnswer({ steps, boundNanoUsd, refusal }: DryRun): z.output<typeof dryRunAnswer> {
  return {
    wouldBe: refusal === null ? "granted" : "refused",
    status: refusal?.status ?? null,
    code: refusal?.code ?? null,
    message: refusal?.message ?? null,
    boundUsd: usdOrNull(boundNanoUsd),
    steps: [...steps],
  };
}
