import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { RouteShape } from '../core/route.ts'
import type { RefusalRule } from '../oauth/token-request.ts'
import type { ProviderRoute } from './provider-type.ts'

/** A configuration key of a vendor's workload identity federation. */
interface FederationKey {
  readonly name: string
  readonly description: string
  /** Whether federation cannot do without it. */
  readonly isNeeded: boolean
}

/**
 * What the provider configures of a federation, by key; null when it configures none, for then it has
 * a static key.
 *
 * @throws AppError `invalid_config` when it is incomplete, or a static key stands beside it.
 */
export function readFederation(
  provider: ProviderRecord,
  keys: readonly FederationKey[],
): ReadonlyMap<string, string> | null {
  const given = keys.flatMap(({ name }) => {
    const value = provider.config.get(name)?.trim() ?? ''
    return value === '' ? [] : [[name, value] as const]
  })
  if (given.length === 0) return null
  const config = new Map(given)
  const missing = keys.find(key => key.isNeeded && !config.has(key.name))
  if (missing !== undefined) {
    throw new AppError('invalid_config', `The configuration ${missing.name} is missing`, {
      hint: `Workload identity federation needs ${neededOf(keys).join(', ')}`,
    })
  }
  const [key] = provider.material.keys()
  if (key === undefined) return config
  throw new AppError('invalid_config', `${key} and workload identity federation are both given`, {
    hint: `Take one away: --credential ${key}= or --config ${given[0]?.[0]}=`,
  })
}

/** The route of a static key, as it is with the tokens of a federation. */
export function federatedRoute(shape: RouteShape): ProviderRoute {
  return {
    shape: {
      ...shape,
      auth: { kind: 'header', header: 'authorization', prefix: 'Bearer ' },
      deadToken: [{ status: 401, when: [], unless: [] }],
    },
    credential: { kind: 'token' },
  }
}

/**
 * What a refused identity token means: stale or already shown is mended by reading the file anew;
 * everything else by whoever administers the federation.
 */
export function federationRefusals(vendor: string, advice: string): readonly RefusalRule[] {
  return [
    {
      error: null,
      pattern: /expired|already (been )?used|replay|too old|not yet valid/i,
      class: 'S',
      code: `${vendor}_identity_token_stale`,
      advice: 'Check that whatever writes the identity token file still renews it',
      recoveryAction: 'fix_configuration',
    },
    {
      error: 'invalid_request',
      pattern: null,
      class: 'P',
      code: 'oauth_invalid_request',
      advice: 'Check the ids of the federation in the configuration',
      recoveryAction: 'fix_configuration',
    },
    {
      error: null,
      pattern: null,
      class: 'Q',
      code: `${vendor}_federation_refused`,
      advice,
      recoveryAction: 'fix_configuration',
    },
  ]
}

function neededOf(keys: readonly FederationKey[]): readonly string[] {
  return keys.filter(key => key.isNeeded).map(key => key.name)
}
