import type { AccessToken, Credential } from './credential.ts'
import { Secret } from './secret.ts'

/** The provider's credential that its type mints of the provider's own material, if there is one. */
export function ownCredential(credentials: readonly Credential[]): Credential | undefined {
  return credentials.find(one => one.grant === null)
}

/** The keys that a credential's token appears under: its own, and those of its other parts. */
export function outputKeys({ key, grant }: Pick<Credential, 'key' | 'grant'>): readonly string[] {
  return [key, ...(grant?.outputs.values() ?? [])]
}

/**
 * A token by the keys that it appears under. Session keys of AWS are minted as one token, in JSON, and
 * are handed out one by one where a person configured them.
 */
export function outputsOf(
  { key, grant }: Pick<Credential, 'key' | 'grant'>,
  { value }: AccessToken,
): ReadonlyMap<string, Secret> {
  if (grant?.strategy !== 'aws_sts_assume_role') return new Map([[key, value]])
  const { accessKeyId, secretAccessKey, sessionToken } = JSON.parse(value.reveal())
  const parts = new Map([
    ['secret_access_key', secretAccessKey],
    ['session_token', sessionToken],
  ])
  const others = [...grant.outputs].map(
    ([output, name]) => [name, new Secret(parts.get(output) ?? '')] as const,
  )
  return new Map([[key, new Secret(accessKeyId)], ...others])
}
