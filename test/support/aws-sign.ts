import { createHash, createHmac } from 'node:crypto'
import type { Secret } from '../../src/core/secret.ts'
import { type Sha256, signRequest } from '../../src/core/sigv4.ts'
import type { AwsKeys } from '../../src/lab/aws-accounts.ts'
import type { Sent } from './lab.ts'

const sha256: Sha256 = {
  hash: content => createHash('sha256').update(content).digest('hex'),
  hmac: (key, text) => createHmac('sha256', key).update(text).digest(),
}

/** How a test's signature differs from a good one. */
export interface SignChanges {
  readonly nowMs: number
  readonly service: string
  readonly region?: string
  readonly secret?: Secret
  readonly contentType?: string
}

/** A signed POST to the lab. */
export function signedPost(url: string, keys: AwsKeys, body: string, changes: SignChanges): Sent {
  const { host, pathname } = new URL(url)
  const { nowMs, service, region = 'us-east-1', contentType = 'application/json' } = changes
  const added = signRequest(
    sha256,
    {
      ...{ method: 'POST', path: pathname, query: '', bodyHash: sha256.hash(body) },
      headers: new Map([
        ['content-type', contentType],
        ['host', host],
      ]),
    },
    {
      keys: {
        accessKeyId: keys.accessKeyId,
        secretAccessKey: changes.secret ?? keys.secretAccessKey,
        sessionToken: keys.session?.value ?? null,
      },
      scope: { service, region, nowMs },
    },
  )
  return { body, headers: [['content-type', contentType], ...added] }
}
