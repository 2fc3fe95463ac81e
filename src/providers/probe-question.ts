import type { Operation, Protocol, RouteShape } from '../core/route.ts'
import type { Secret } from '../core/secret.ts'
import { signRequest } from '../core/sigv4.ts'
import { sha256 } from '../oauth/aws-signature.ts'
import type { FetchRequest } from '../system/fetch.ts'
import { sessionKeys } from './aws-session.ts'

/** A question to an API: an operation, and the members of its body; null for a GET. */
export interface Question {
  readonly operation: Operation
  readonly members: Members | null
}

type Members = Readonly<Record<string, unknown>>

const MESSAGES = [{ role: 'user', content: 'hi' }]

/** The forms of the smallest question for each protocol, cheapest protocol first. */
const FORMS: readonly (readonly [Protocol, readonly (Members | null)[]])[] = [
  ['model_discovery', [null]],
  ['anthropic_count_tokens', [{ messages: MESSAGES }]],
  [
    'openai_chat_completions',
    // Newer models refuse the one, older servers do not know the other.
    [
      { messages: MESSAGES, max_tokens: 1 },
      { messages: MESSAGES, max_completion_tokens: 16 },
    ],
  ],
  ['anthropic_messages', [{ messages: MESSAGES, max_tokens: 1 }]],
  ['openai_responses', [{ input: 'hi', max_output_tokens: 16 }]],
  ['openai_completions', [{ prompt: 'hi', max_tokens: 1 }]],
  ['openai_embeddings', [{ input: 'hi' }]],
  [
    'aws_bedrock_converse',
    [
      {
        messages: [{ role: 'user', content: [{ text: 'hi' }] }],
        inferenceConfig: { maxTokens: 1 },
      },
    ],
  ],
]

/** The smallest question as a translator of the router would put it, by the translator's name. */
const TRANSLATED: ReadonlyMap<string, Members> = new Map<string, Members>([
  ['watsonx_chat', { messages: MESSAGES, max_tokens: 1 }],
  ['watsonx_embeddings', { inputs: ['hi'] }],
  ['vertex_embeddings', { instances: [{ content: 'hi' }] }],
  ['bedrock_claude', { messages: MESSAGES, max_tokens: 1 }],
])

/** What can be asked of a route, cheapest first; without a model only what needs none. */
export function questionsOf(
  { operations }: RouteShape,
  { hasModel }: { readonly hasModel: boolean },
): readonly Question[] {
  return FORMS.flatMap(([protocol, forms]) => {
    const operation = operations.find(one => one.protocol === protocol)
    if (operation === undefined || (!hasModel && protocol !== 'model_discovery')) return []
    if (operation.translation === null) return forms.map(members => ({ operation, members }))
    const form = TRANSLATED.get(operation.translation.name)
    const told = Object.fromEntries(operation.translation.options)
    return form === undefined ? [] : [{ operation, members: { ...told, ...form } }]
  })
}

/** The request that puts a question, with the credential in it, as a router would send it. */
export function requestOf(
  { operation, members }: Question,
  shape: RouteShape,
  options: {
    /** Null asks as a stranger. */
    readonly credential: Secret | null
    readonly nowMs: number
    readonly signal: AbortSignal
  },
): FetchRequest {
  const path = operation.path.replaceAll('{model}', encodeURIComponent(shape.modelId))
  const headers = new Map([...shape.defaultHeaders, ['accept', 'application/json']])
  if (operation.version !== null) headers.delete('anthropic-version')
  const body = members === null ? null : bodyOf(operation, shape.modelId, members)
  if (body !== null) headers.set('content-type', 'application/json')
  const request: FetchRequest = {
    method: body === null ? 'GET' : 'POST',
    url: `${operation.baseUrl || shape.baseUrl}${path}`,
    headers,
    body,
    signal: options.signal,
  }
  const { credential, nowMs } = options
  if (credential === null) return request
  return {
    ...request,
    headers: new Map([...headers, ...proof(shape, request, { credential, nowMs })]),
  }
}

/** What of the credential a vendor could echo: AWS quotes what was signed, session token and all. */
export function sentSecrets({ auth }: RouteShape, credential: Secret): readonly Secret[] {
  if (auth.kind === 'header') return [credential]
  const { secretAccessKey, sessionToken } = sessionKeys(credential)
  return [secretAccessKey, ...(sessionToken === null ? [] : [sessionToken])]
}

function bodyOf(operation: Operation, modelId: string, members: Members): Uint8Array {
  return Buffer.from(
    JSON.stringify({
      ...(operation.version === null ? {} : { anthropic_version: operation.version.fallback }),
      ...(operation.model === 'replace' ? { model: modelId } : {}),
      ...members,
    }),
  )
}

/** The headers that show who asks. */
function proof(
  { auth }: RouteShape,
  request: FetchRequest,
  { credential, nowMs }: { readonly credential: Secret; readonly nowMs: number },
): ReadonlyMap<string, string> {
  if (auth.kind === 'header') {
    return new Map([[auth.header, `${auth.prefix}${credential.reveal()}`]])
  }
  const { host, pathname, search } = new URL(request.url)
  const type = request.headers.get('content-type')
  return signRequest(
    sha256,
    {
      method: request.method,
      path: pathname,
      query: search.slice(1),
      headers: new Map([
        ['host', host],
        ...(type === undefined ? [] : [['content-type', type] as const]),
      ]),
      bodyHash: sha256.hash(request.body ?? ''),
    },
    {
      keys: sessionKeys(credential),
      scope: { service: auth.service, region: auth.region, nowMs },
    },
  )
}
