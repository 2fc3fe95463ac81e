import { Secret } from '../core/secret.ts'
import type { Assertion, RequestValue } from './token-request.ts'

/** FAPI 2.0 and many servers take no client assertion that lives longer. */
const ASSERTION_SECONDS = 300

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/**
 * How a client proves who it is (RFC 6749 §2.3, RFC 7523 §2.2). It is one method, because a request
 * must never carry two.
 *
 * - `none`: a public client; without a `clientId` not even its name is sent.
 * - `basic`: id and secret in `Authorization`, form-encoded first as §2.3.1 demands; `isRaw` leaves
 *   that out, for the servers that do.
 * - `post`: id and secret in the form.
 * - `private_key_jwt`: a signed assertion with a fresh `jti` for each attempt.
 */
export type ClientAuthentication =
  | { readonly kind: 'none'; readonly clientId: string }
  | {
      readonly kind: 'basic'
      readonly clientId: string
      readonly clientSecret: Secret
      readonly isRaw: boolean
    }
  | { readonly kind: 'post'; readonly clientId: string; readonly clientSecret: Secret }
  | {
      readonly kind: 'private_key_jwt'
      readonly clientId: string
      readonly algorithm: Assertion['algorithm']
      readonly privateKey: Secret
      /** The `kid` header; '' sends none. */
      readonly keyId: string
      /** Who the assertion is for: the server's issuer, or its token endpoint. */
      readonly audience: string
    }

/** What a client adds to a request to prove who it is. */
export interface ClientProof {
  readonly headers: ReadonlyMap<string, RequestValue>
  readonly fields: readonly (readonly [name: string, value: RequestValue])[]
  /** Forms of the secret that are not sent as they are, and yet must not come back in an error. */
  readonly hidden: readonly Secret[]
}

/** The proof of a client at `nowMs`. */
export function proveClient(client: ClientAuthentication, nowMs: number): ClientProof {
  const nothing: ClientProof = { headers: new Map(), fields: [], hidden: [] }
  switch (client.kind) {
    case 'none':
      return client.clientId === ''
        ? nothing
        : { ...nothing, fields: [['client_id', client.clientId]] }
    case 'post':
      return {
        ...nothing,
        fields: [
          ['client_id', client.clientId],
          ['client_secret', client.clientSecret],
        ],
      }
    case 'basic': {
      const encode = client.isRaw ? (text: string) => text : formEncoded
      const pair = `${encode(client.clientId)}:${encode(client.clientSecret.reveal())}`
      const base64 = Buffer.from(pair, 'utf8').toString('base64')
      return {
        ...nothing,
        headers: new Map([['authorization', new Secret(`Basic ${base64}`)]]),
        hidden: [new Secret(base64), new Secret(pair), client.clientSecret],
      }
    }
    case 'private_key_jwt':
      return {
        ...nothing,
        fields: [
          ['client_assertion_type', ASSERTION_TYPE],
          ['client_assertion', clientAssertion(client, nowMs)],
        ],
      }
  }
}

function clientAssertion(
  client: ClientAuthentication & { readonly kind: 'private_key_jwt' },
  nowMs: number,
): Assertion {
  const issuedAt = Math.floor(nowMs / 1_000)
  return {
    kind: 'assertion',
    algorithm: client.algorithm,
    privateKey: client.privateKey,
    header: client.keyId === '' ? {} : { kid: client.keyId },
    claims: {
      iss: client.clientId,
      sub: client.clientId,
      aud: client.audience,
      iat: issuedAt,
      exp: issuedAt + ASSERTION_SECONDS,
    },
    hasJti: true,
  }
}

function formEncoded(text: string): string {
  return new URLSearchParams([['', text]]).toString().slice(1)
}
