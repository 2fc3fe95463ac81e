import { Secret } from '../core/secret.ts'
import type { Random } from '../system/random.ts'
import type { IssuedToken, TokenRegister } from './tokens.ts'

const ACCOUNT = '123456789012'
const SESSION_TOKEN_BYTES = 400
const KEY_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** Keys that sign, and whose they are. */
export interface AwsKeys {
  readonly accessKeyId: string
  readonly secretAccessKey: Secret
  /** Null for the long-lived keys of a user. */
  readonly session: IssuedToken | null
}

/** A pretend AWS account: one user, one role, and the sessions that came of them. */
export interface AwsAccounts {
  readonly region: string
  readonly roleArn: string
  /** Name of the role that instances have. */
  readonly roleName: string
  /** Whom web identity tokens must be shown to. */
  readonly audience: string
  /** The user's long-lived keys. */
  readonly user: AwsKeys
  /** What the container endpoint wants in `Authorization`. */
  readonly containerToken: Secret
  /** A long-term Bedrock API key. */
  readonly bedrockKey: Secret
  find(accessKeyId: string): AwsKeys | null
  /** Starts a session, with keys of its own. */
  startSession(subject: string, lifetimeMs: number): AwsKeys
}

/** Makes the account with its keys. */
export function createAwsAccounts(deps: {
  readonly random: Random
  readonly tokens: TokenRegister
}): AwsAccounts {
  const keyId = (prefix: string) =>
    prefix + [...deps.random.bytes(16)].map(byte => KEY_ALPHABET[byte % 32]).join('')
  const word = (bytes: number) => Buffer.from(deps.random.bytes(bytes)).toString('base64url')
  const newKeys = (prefix: string, session: IssuedToken | null): AwsKeys => ({
    accessKeyId: keyId(prefix),
    secretAccessKey: new Secret(word(30)),
    session,
  })
  const user = newKeys('AKIA', null)
  const known = new Map([[user.accessKeyId, user]])
  return {
    region: 'us-east-1',
    roleArn: `arn:aws:iam::${ACCOUNT}:role/lab-agent`,
    roleName: 'lab-agent',
    audience: 'sts.amazonaws.com',
    user,
    containerToken: new Secret(word(24)),
    bedrockKey: new Secret(`ABSK${word(60)}`),
    find: accessKeyId => known.get(accessKeyId) ?? null,
    startSession(subject, lifetimeMs) {
      const session = deps.tokens.issue({
        realm: 'aws',
        subject,
        lifetimeMs,
        prefix: 'IQoJ',
        randomBytes: SESSION_TOKEN_BYTES,
      })
      const keys = newKeys('ASIA', session)
      known.set(keys.accessKeyId, keys)
      return keys
    },
  }
}
