import { createHash, sign } from 'node:crypto'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { startLab } from '../../src/lab/lab.ts'
import type { Lab } from '../../src/lab/running-lab.ts'
import { silentLog } from '../../src/system/log.ts'
import type { Random } from '../../src/system/random.ts'
import { FakeClock } from './fake-clock.ts'

const SEED = process.env.SEED ?? '7'
const START_MS = Date.UTC(2026, 10, 25, 12)
const PROJECT_PATH = 'projects/demo-project/locations/us-east1'

/** Where the lab's Claude is, with the model and verb still to come. */
export const CLAUDE_PATH = `/v1/${PROJECT_PATH}/publishers/anthropic/models`
/** The lab's OpenAI-compatible endpoint of Vertex. */
export const OPENAPI_PATH = `/v1beta1/${PROJECT_PATH}/endpoints/openapi/chat/completions`

/** Chance that a seed repeats. */
function createSeededRandom(seed: string): Random {
  let count = 0
  const block = () => {
    count += 1
    return createHash('sha256').update(`${seed}:${count}`).digest()
  }
  return {
    fraction: () => block().readUInt32BE() / 2 ** 32,
    bytes(length) {
      const blocks = Array.from({ length: Math.ceil(length / 32) }, block)
      return Buffer.concat(blocks).subarray(0, length)
    },
  }
}

/** A lab on a free port, on a clock that only the test moves; `await using` closes it. */
export interface TestLab extends AsyncDisposable {
  readonly lab: Lab
  readonly clock: FakeClock
}

/** Starts one; `SEED=…` repeats its ids. */
export async function startTestLab(
  options: { readonly tokenLifetimeMs?: number } = {},
): Promise<TestLab> {
  const clock = new FakeClock(START_MS)
  const random = createSeededRandom(SEED)
  const lab = await startLab(
    { clock, random, log: silentLog },
    {
      listen: { host: '127.0.0.1', port: 0 },
      tokenLifetimeMs: options.tokenLifetimeMs ?? 3_600_000,
    },
  )
  return { lab, clock, [Symbol.asyncDispose]: () => lab.close() }
}

/** What to send; a body that is no string is sent as JSON. */
export interface Sent {
  readonly method?: string
  /** Pairs, so that a name may come twice. */
  readonly headers?: readonly (readonly [string, string])[]
  readonly body?: unknown
  readonly signal?: AbortSignal
}

/** What came back, whole. */
export interface Received {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly bytes: Buffer
  readonly text: string
}

/** Sends exactly this, byte for byte; rejects when the answer breaks off. */
export async function send(url: string, sent: Sent = {}): Promise<Received> {
  const { body = '', headers = [] } = sent
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  const isPost = body !== ''
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, {
      method: sent.method ?? (isPost ? 'POST' : 'GET'),
      agent: false,
      headers: [
        ...['host', new URL(url).host],
        ...(isPost ? ['content-length', String(bytes.byteLength)] : []),
        ...headers.flat(),
      ],
      ...(sent.signal === undefined ? {} : { signal: sent.signal }),
    })
    request.on('error', reject)
    request.on('response', response => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const whole = Buffer.concat(chunks)
        const { statusCode: status = 0, headers: received } = response
        resolve({ status, headers: received, bytes: whole, text: whole.toString() })
      })
    })
    request.end(bytes)
  })
}

/** How a test's assertion differs from a good one. */
export interface AssertionChanges {
  readonly header?: Readonly<Record<string, unknown>>
  readonly claims?: Readonly<Record<string, unknown>>
  /** Signs with this PEM instead of the key file's. */
  readonly privateKey?: string
}

/** Signs an assertion with a key file, as AIP-4112 says; `undefined` leaves a member out. */
export function signAssertion(
  keyFile: string,
  nowMs: number,
  { header = {}, claims = {}, privateKey }: AssertionChanges = {},
): string {
  const key = JSON.parse(keyFile)
  const iat = Math.floor(nowMs / 1_000)
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const head = encode({ alg: 'RS256', typ: 'JWT', kid: key.private_key_id, ...header })
  const payload = encode({
    iss: key.client_email,
    scope: 'https://www.googleapis.com/auth/cloud-platform',
    aud: key.token_uri,
    iat,
    exp: iat + 3_600,
    ...claims,
  })
  const signed = `${head}.${payload}`
  const signature = sign('RSA-SHA256', Buffer.from(signed), privateKey ?? key.private_key)
  return `${signed}.${signature.toString('base64url')}`
}

/** The form that brings an assertion to the token endpoint. */
export function tokenForm(assertion: string): Sent {
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    assertion,
  })
  return {
    headers: [['content-type', 'application/x-www-form-urlencoded']],
    body: form.toString(),
  }
}

/** Asks the token endpoint like a stranger would. */
export function askToken(
  { lab, clock }: Pick<TestLab, 'lab' | 'clock'>,
  changes: AssertionChanges = {},
): Promise<Received> {
  const assertion = signAssertion(lab.serviceAccountKey(), clock.nowMs(), changes)
  return send(`${lab.origin}/token`, tokenForm(assertion))
}

/** A good access token, by the front door. */
export async function mintToken(testLab: Pick<TestLab, 'lab' | 'clock'>): Promise<string> {
  const { text } = await askToken(testLab)
  const token: unknown = JSON.parse(text).access_token
  if (typeof token !== 'string') throw new Error(`The lab gave no token: ${text}`)
  return token
}

/** A Messages request as it must arrive at Vertex. */
export function claudeCall(token: string, changes: Readonly<Record<string, unknown>> = {}): Sent {
  return {
    headers: [
      ['content-type', 'application/json'],
      ['authorization', `Bearer ${token}`],
    ],
    body: {
      anthropic_version: 'vertex-2023-10-16',
      max_tokens: 64,
      messages: [{ role: 'user', content: 'hi' }],
      ...changes,
    },
  }
}
