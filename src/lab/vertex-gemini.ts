import { type Answer, type Call, eventAnswer, jsonAnswer } from './call.ts'
import { geminiProblem } from './gemini-fields.ts'
import { rpcError } from './google-rpc.ts'
import { elementsOf, isObject, type JsonObject } from './json.ts'
import {
  contentText,
  inputFor,
  type OfferedTool,
  planReply,
  type Reply,
  replyText,
  streamPieces,
  tokenCount,
} from './reply.ts'
import { readJsonBody } from './strict.ts'
import type { World } from './world.ts'

/** What a call of Gemini's native API asks for. */
export type GeminiVerb = 'generateContent' | 'streamGenerateContent' | 'countTokens'

/** Answers Gemini's native API as Vertex AI serves it. The model in the path is all that names one. */
export function answerGemini(
  world: World,
  call: Call,
  { model, verb }: { readonly model: string; readonly verb: GeminiVerb },
): Answer {
  const form = /^(?:\?alt=(sse|json))?$/.exec(call.query)
  if (form === null) return rpcError(400, `Query ${call.query} is not known here`)
  const body = readJsonBody(call)
  if (typeof body === 'string') return rpcError(400, body)
  if (!/^gemini-[\w.-]+$/.test(model)) {
    const what = `Publisher Model \`${model}\` was not found or your project does not have access to it.`
    return rpcError(404, what)
  }
  const problem = geminiProblem(body, { isCount: verb === 'countTokens' })
  if (problem !== null) return rpcError(400, problem)
  if (verb === 'countTokens') return jsonAnswer(200, countOf(call))
  const last = elementsOf(body.contents).at(-1)
  const planned = planReply({
    model,
    prompt: isObject(last) ? contentText(last.parts) : '',
    tools: offeredTools(body),
    bodyBytes: call.body.byteLength,
  })
  if ('problem' in planned) return rpcError(400, planned.problem)
  const reply = inForm(planned, body.generationConfig)
  const said = sayings(world, model)
  if (verb === 'generateContent') {
    return jsonAnswer(200, said([partOf(reply, replyText(reply))], { reply, isLast: true }))
  }
  const chunks = chunksOf(world, call, { reply, said })
  return form[1] === 'sse' ? eventAnswer(asEvents(chunks)) : arrayAnswer(chunks)
}

/** What a request that wants JSON gets instead of words. */
function inForm(reply: Reply, config: unknown): Reply {
  if (!isObject(config) || config.responseMimeType !== 'application/json') return reply
  const schema = config.responseJsonSchema ?? inSmallLetters(config.responseSchema)
  return { ...reply, tool: null, pieces: 1, piece: () => JSON.stringify(inputFor(schema)) }
}

function countOf({ body }: Call): JsonObject {
  const totalTokens = tokenCount(body.byteLength)
  return {
    totalTokens,
    totalBillableCharacters: body.byteLength,
    promptTokensDetails: [{ modality: 'TEXT', tokenCount: totalTokens }],
  }
}

/** Gemini writes a schema's types in capitals, JSON Schema in small letters; both are taken. */
function offeredTools({ tools }: JsonObject): readonly OfferedTool[] {
  return elementsOf(tools)
    .filter(isObject)
    .flatMap(tool => elementsOf(tool.functionDeclarations ?? tool.function_declarations))
    .filter(isObject)
    .map(({ name, parameters, parametersJsonSchema }) => ({
      name: String(name),
      schema: parametersJsonSchema ?? inSmallLetters(parameters),
    }))
}

function inSmallLetters(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(inSmallLetters)
  if (!isObject(schema)) return schema
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [
      key,
      key === 'type' && typeof value === 'string' ? value.toLowerCase() : inSmallLetters(value),
    ]),
  )
}

function partOf({ tool }: Reply, text: string): JsonObject {
  return tool === null ? { text } : { functionCall: { name: tool.name, args: tool.input } }
}

type Saying = (
  parts: readonly JsonObject[],
  end: { readonly reply: Reply; readonly isLast: boolean },
) => JsonObject

/** What every piece of one answer has in common. */
function sayings(world: World, model: string): Saying {
  const responseId = world.newId()
  const createTime = new Date(world.clock.nowMs()).toISOString()
  return (parts, { reply, isLast }) => ({
    candidates: [
      { content: { role: 'model', parts }, ...(isLast ? { finishReason: 'STOP' } : {}) },
    ],
    ...(isLast ? { usageMetadata: usageOf(reply) } : {}),
    modelVersion: model,
    createTime,
    responseId,
  })
}

function usageOf({ inputTokens, outputTokens }: Reply): JsonObject {
  return {
    promptTokenCount: inputTokens,
    candidatesTokenCount: outputTokens,
    totalTokenCount: inputTokens + outputTokens,
    trafficType: 'ON_DEMAND',
  }
}

async function* chunksOf(
  { clock }: World,
  { signal }: Call,
  { reply, said }: { readonly reply: Reply; readonly said: Saying },
): AsyncGenerator<string> {
  if (reply.tool !== null) {
    yield JSON.stringify(said([partOf(reply, '')], { reply, isLast: true }))
    return
  }
  for await (const text of streamPieces(reply, clock, signal)) {
    yield JSON.stringify(said([{ text }], { reply, isLast: false }))
  }
  yield JSON.stringify(said([{ text: '' }], { reply, isLast: true }))
}

/** Google ends its lines as HTTP does. */
async function* asEvents(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const chunk of chunks) yield `data: ${chunk}\r\n\r\n`
}

/** Without `alt=sse` a stream is one JSON array, sent piece by piece. */
function arrayAnswer(chunks: AsyncIterable<string>): Answer {
  async function* body(): AsyncGenerator<string> {
    let opening = '['
    for await (const chunk of chunks) {
      yield `${opening}${chunk}`
      opening = ',\r\n'
    }
    yield ']'
  }
  return {
    status: 200,
    headers: [['content-type', 'application/json; charset=UTF-8']],
    body: body(),
  }
}
