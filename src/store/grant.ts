import type { ConfiguredGrant, GrantStrategy } from '../core/configured-grant.ts'
import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { parseJsonObject, stringMap } from './json.ts'
import type { Sealer } from './seal.ts'
import { damagedRow } from './trouble.ts'

const STRATEGIES: readonly GrantStrategy[] = [
  'google_service_account_jwt',
  'oauth2_refresh_token',
  'oauth2_client_credentials',
  'aws_sts_assume_role',
]

/**
 * What stands for a grant that cannot be read. It holds no material, so that nothing is minted with it
 * and the refresh fails in words; taken for none, the credential would be minted by other means.
 */
const UNREADABLE: ConfiguredGrant = {
  epoch: '',
  strategy: 'oauth2_refresh_token',
  material: new Map(),
  tokenUrl: '',
  scopes: [],
  refreshBeforeSeconds: 0,
  maxLifetimeSeconds: 0,
  outputs: new Map(),
}

/** The columns of a credential's grant: sealed as one, because it holds material. */
export function grantColumns({ providerId, key, grant }: Credential, sealer: Sealer) {
  if (grant === null) return { grant_envelope: null, grant_epoch: '' }
  const material = [...grant.material].map(([name, secret]) => [name, secret.reveal()] as const)
  const text = JSON.stringify({
    ...grant,
    material: Object.fromEntries(material),
    outputs: Object.fromEntries(grant.outputs),
  })
  const envelope = sealer.seal(new Secret(text), grantContext(providerId, key))
  return { grant_envelope: envelope, grant_epoch: grant.epoch }
}

/** Reads a credential's grant; null when it has none. */
export function readGrant(
  row: {
    readonly provider_id: string
    readonly key: string
    readonly grant_envelope: string | null
  },
  sealer: Sealer,
): ConfiguredGrant | null {
  if (row.grant_envelope === null) return null
  try {
    return parseGrant(sealer.unseal(row.grant_envelope, grantContext(row.provider_id, row.key)))
  } catch (error) {
    // Whole, and sealed for gateways that hold another key: it is theirs.
    if (!(error instanceof AppError) || error.code === 'wrong_master_key') throw error
    return UNREADABLE
  }
}

function parseGrant(sealed: Secret): ConfiguredGrant {
  const what = 'a configured refresh'
  const value = parseJsonObject(sealed.reveal(), what)
  const { epoch, tokenUrl, scopes, refreshBeforeSeconds, maxLifetimeSeconds } = value
  const strategy = STRATEGIES.find(one => one === value.strategy)
  if (
    strategy === undefined ||
    typeof epoch !== 'string' ||
    typeof tokenUrl !== 'string' ||
    !Array.isArray(scopes) ||
    typeof refreshBeforeSeconds !== 'number' ||
    typeof maxLifetimeSeconds !== 'number'
  ) {
    throw damagedRow(what)
  }
  const material = [...stringMap(value.material, what)].map(
    ([name, text]) => [name, new Secret(text)] as const,
  )
  return {
    ...{ epoch, strategy, tokenUrl, refreshBeforeSeconds, maxLifetimeSeconds },
    scopes: scopes.map(String),
    material: new Map(material),
    outputs: stringMap(value.outputs, what),
  }
}

/** Where a configured grant belongs; its envelope opens nowhere else. */
export function grantContext(providerId: string, key: string): string {
  return `grant/${providerId}/${key}`
}
