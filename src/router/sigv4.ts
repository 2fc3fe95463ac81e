import { createHash, createHmac } from 'node:crypto'
import type { ResolvedRoute } from '../core/route.ts'
import { Secret } from '../core/secret.ts'
import { type Sha256, type SigningKeys, signRequest } from '../core/sigv4.ts'
import { RouterError } from './errors.ts'
import type { UpstreamRequest } from './exchange.ts'
import type { RequestBody } from './request-body.ts'

type UpstreamHead = Pick<UpstreamRequest, 'origin' | 'path' | 'method' | 'headers'>

const sha256: Sha256 = {
  hash: content => createHash('sha256').update(content).digest('hex'),
  hmac: (key, text) => createHmac('sha256', key).update(text).digest(),
}

/** Nobody waits for a body that is there already. */
const DEAF = { waiting() {}, sending() {}, failed() {} }

/**
 * The head with a signature over it and the body, which must be whole, where the route's credential
 * signs; otherwise the head as it is. A signature is good for minutes, so each try has its own.
 *
 * @throws RouterError `credential_missing` when the credential holds no keys.
 */
export async function signedHead(
  head: UpstreamHead,
  options: {
    readonly route: ResolvedRoute
    readonly body: RequestBody | null
    readonly nowMs: number
  },
): Promise<UpstreamHead> {
  const { route, body, nowMs } = options
  const { auth } = route
  if (auth.kind !== 'sigv4') return head
  const [path = '', query = ''] = head.path.split('?', 2)
  const added = signRequest(
    sha256,
    {
      method: head.method,
      path,
      query,
      headers: signedHeaders(head),
      bodyHash: await hashOf(body),
    },
    { keys: signingKeys(route), scope: { service: auth.service, region: auth.region, nowMs } },
  )
  return { ...head, headers: [...head.headers, ...[...added].flat()] }
}

/** What AWS demands a signature over: the host, and whatever says what is asked of it. */
function signedHeaders({ origin, headers }: UpstreamHead): ReadonlyMap<string, string> {
  const signed = new Map([['host', new URL(origin).host]])
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] ?? ''
    if (name !== 'content-type' && !name.startsWith('x-amz')) continue
    const value = headers[at + 1] ?? ''
    const before = signed.get(name)
    signed.set(name, before === undefined ? value : `${before},${value}`)
  }
  return signed
}

async function hashOf(body: RequestBody | null): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of body?.open(DEAF) ?? []) hash.update(piece)
  return hash.digest('hex')
}

function signingKeys(route: ResolvedRoute): SigningKeys {
  const [accessKeyId, secretAccessKey, sessionToken] = parseKeys(route.credential.reveal())
  if (isWord(accessKeyId) && isWord(secretAccessKey) && isWord(sessionToken)) {
    return {
      accessKeyId,
      secretAccessKey: new Secret(secretAccessKey),
      sessionToken: new Secret(sessionToken),
    }
  }
  throw new RouterError(
    'credential_missing',
    `Provider "${route.providerName}" has no keys that can sign. Run "openshell provider refresh status"`,
  )
}

function parseKeys(text: string): readonly unknown[] {
  try {
    const keys: unknown = JSON.parse(text)
    if (typeof keys !== 'object' || keys === null) return []
    const members = new Map<string, unknown>(Object.entries(keys))
    return ['accessKeyId', 'secretAccessKey', 'sessionToken'].map(name => members.get(name))
  } catch (error) {
    // The parser's message would quote the keys.
    if (error instanceof SyntaxError) return []
    throw error
  }
}

/** Text that a header can carry. */
function isWord(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]+$/.test(value)
}
