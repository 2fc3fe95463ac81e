import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import {
  type ProviderProfile,
  ProviderProfileCategory,
} from '../wire/gen/openshell/v1/profile_pb.ts'
import type { ProviderInput } from './assignment.ts'
import type { Terminal } from './terminal.ts'

/** What the user's environment holds for a provider type. */
export interface Discovery extends ProviderInput {
  readonly type: string
  /** The variables that were used, in the type's order. */
  readonly variables: readonly string[]
}

/**
 * Looks in the environment for the keys of a provider type; without a type, for the one type whose
 * credentials are there.
 *
 * @throws AppError `invalid_usage` when there are none, or when they fit several types.
 */
export function discoverInEnvironment(
  env: Terminal['env'],
  profiles: readonly ProviderProfile[],
  type: string,
): Discovery {
  const wanted = type.trim().toLowerCase()
  const candidates =
    wanted === ''
      ? profiles.filter(servesModels)
      : profiles.filter(one => one.id === wanted || one.aliases.includes(wanted))
  const [first] = candidates
  if (first === undefined) {
    throw new AppError('invalid_usage', `Unknown provider type "${type}"`, {
      hint: '"openshell provider list-profiles" lists them',
    })
  }
  const found = candidates
    .map(profile => discover(env, profile))
    .filter(one => one.credentials.size > 0)
  const [only] = found
  if (only === undefined) throw nothingFound(wanted === '' ? null : first)
  if (found.length === 1) return only
  const list = found.map(one => `${one.type} (${[...one.credentials.keys()].join(', ')})`)
  throw new AppError('invalid_usage', `The environment fits several types: ${list.join('; ')}`, {
    hint: 'Choose one with --type',
  })
}

function discover(env: Terminal['env'], profile: ProviderProfile): Discovery {
  const credentials = new Map<string, Secret>()
  const config = new Map<string, string>()
  const variables: string[] = []
  for (const { name, envVars, refresh } of profile.credentials) {
    const variable = envVars.find(one => isSet(env, one))
    // What the gateway refreshes would be stale soon after it was copied.
    if (variable === undefined || refresh !== undefined) continue
    // A profile calls a credential what it likes; what it is stored under is a variable.
    credentials.set(envVars.includes(name) ? name : variable, new Secret(env[variable] ?? ''))
    variables.push(variable)
  }
  for (const { name } of profile.config) {
    if (!isSet(env, name)) continue
    config.set(name, env[name] ?? '')
    variables.push(name)
  }
  return { type: profile.id, credentials, config, variables }
}

/** A key of Anthropic may be Claude Code's; without a type it is taken for a model's. */
function servesModels({ category }: ProviderProfile): boolean {
  const { INFERENCE, UNSPECIFIED } = ProviderProfileCategory
  return category === INFERENCE || category === UNSPECIFIED
}

function isSet(env: Terminal['env'], name: string): boolean {
  return (env[name] ?? '') !== ''
}

function nothingFound(profile: ProviderProfile | null): AppError {
  const names = profile?.credentials.flatMap(one => one.envVars) ?? []
  return new AppError(
    'invalid_usage',
    profile === null
      ? 'The environment holds no credential of any provider type'
      : `The environment holds none of ${names.join(', ')}`,
    { hint: 'Export one, or give it with --credential-file KEY=PATH' },
  )
}
