import { createHash } from 'node:crypto'

/**
 * What stands for a credential inside a sandbox: 64 hexadecimal digits that say nothing of its value
 * and outlast each renewal of it, so that a program that has read it once need not read it again.
 */
export function credentialHandle(of: {
  readonly sandboxId: string
  readonly providerId: string
  readonly key: string
}): string {
  const { sandboxId, providerId, key } = of
  return createHash('sha256')
    .update(JSON.stringify([sandboxId, providerId, key]))
    .digest('hex')
}
