import { AppError } from '../core/errors.ts'
import { generic } from './generic.ts'
import type { ProviderType } from './provider-type.ts'

/** What of a profile makes a provider type. */
export interface ProfileSketch {
  readonly id: string
  readonly displayName: string
  readonly description: string
  readonly credentials: readonly {
    readonly description: string
    /** The keys that it may stand under in a provider. */
    readonly envVars: readonly string[]
  }[]
}

/**
 * The provider type that a profile describes. Its credentials are for sandboxes; a type that says it is
 * capable of inference also serves a route, where its provider's configuration says how, as one of type
 * `generic` does. Nothing is minted of its material: a refresh is configured key by key.
 */
export function profileType(
  profile: ProfileSketch,
  { aliases, hasRoute }: { readonly aliases: readonly string[]; readonly hasRoute: boolean },
): ProviderType {
  return {
    type: profile.id,
    aliases,
    displayName: profile.displayName,
    description: profile.description,
    credentialKeys: profile.credentials.flatMap(({ envVars, description }) =>
      envVars.map(name => ({ name, aliases: [], description })),
    ),
    configKeys: hasRoute ? generic.configKeys.map(key => ({ ...key, isRequired: false })) : [],
    example: '',
    tokenKey: '',
    strategyOf: () => '',
    grant: () => null,
    servesRoute: provider => hasRoute && provider.config.has('BASE_URL'),
    route: hasRoute ? generic.route : () => noRoute(profile.id),
  }
}

function noRoute(type: string): never {
  throw new AppError('invalid_argument', `Providers of type "${type}" serve no inference route`, {
    hint: "Attach them to a sandbox, or choose a provider of another type; see 'openshell provider list-profiles'",
  })
}
