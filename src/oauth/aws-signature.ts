import { createHash, createHmac } from 'node:crypto'
import { Secret } from '../core/secret.ts'
import {
  presignQuery,
  type Sha256,
  type SigningKeys,
  type SigningScope,
  signRequest,
} from '../core/sigv4.ts'
import type { RequestValue } from './token-request.ts'

/** The machine's own SHA-256, as signing takes it. */
export const sha256: Sha256 = {
  hash: content => createHash('sha256').update(content).digest('hex'),
  hmac: (key, text) => createHmac('sha256', key).update(text).digest(),
}

/** Who signs, and for what. */
export interface Signing {
  readonly keys: SigningKeys
  readonly scope: SigningScope
}

/**
 * The headers that sign a form to be posted to `url`, in the order of its fields. The content type is
 * signed too, as AWS's own clients do.
 */
export function signedFormHeaders(
  url: URL,
  fields: ReadonlyMap<string, string>,
  signing: Signing,
): ReadonlyMap<string, RequestValue> {
  const added = signRequest(
    sha256,
    {
      method: 'POST',
      path: url.pathname,
      query: '',
      headers: new Map([
        ['content-type', 'application/x-www-form-urlencoded'],
        ['host', url.host],
      ]),
      bodyHash: sha256.hash(new URLSearchParams([...fields]).toString()),
    },
    signing,
  )
  return new Map(
    [...added].map(([name, value]) => [name, name === 'x-amz-date' ? value : new Secret(value)]),
  )
}

/** A POST without a body that whoever holds it may send until it expires: host, path and query. */
export function presignedPost(
  url: URL,
  options: Signing & { readonly expiresSeconds: number },
): Secret {
  const query = presignQuery(
    sha256,
    {
      method: 'POST',
      path: url.pathname,
      query: url.search.slice(1),
      headers: new Map([['host', url.host]]),
      bodyHash: sha256.hash(''),
    },
    options,
  )
  return new Secret(`${url.host}${url.pathname}?${query}`)
}
