import { AppError } from '../core/errors.ts'
import type { ProfileRecord, ProviderRecord } from '../core/provider.ts'
import { profileType } from '../providers/profile-type.ts'
import type { ProviderType } from '../providers/provider-type.ts'
import { findProviderType, knownProviderType } from '../providers/registry.ts'
import type { Store } from '../store/store.ts'
import { profileFromText } from '../wire/profile.ts'

/** A provider type, and whose profile says it. */
export interface FoundType {
  readonly type: ProviderType
  /** '' for a type that all workspaces have. */
  readonly profileWorkspace: string
}

/**
 * Finds the type of a new provider: one that this program knows, else the workspace's own profile of
 * that name, else the one that all workspaces have.
 *
 * Profiles are read anew each time, because another gateway may have changed them.
 *
 * @throws AppError `unknown_provider_type`.
 */
export async function findType(store: Store, name: string, workspace: string): Promise<FoundType> {
  const known = knownProviderType(name)
  if (known !== null) return { type: known, profileWorkspace: '' }
  const profile = await findProfile(store, name.trim().toLowerCase(), workspace)
  // Says which there are.
  if (profile === null) return { type: findProviderType(name), profileWorkspace: '' }
  return { type: typeOfProfile(profile), profileWorkspace: profile.workspace }
}

/**
 * The type of a provider that stands.
 *
 * @throws AppError `unknown_provider_type` when its profile is gone.
 */
export async function typeOf(
  store: Store,
  { type, profileWorkspace }: Pick<ProviderRecord, 'type' | 'profileWorkspace'>,
): Promise<ProviderType> {
  const known = knownProviderType(type)
  if (known !== null) return known
  const profile = await store.getProfile(profileWorkspace, type)
  if (profile !== null) return typeOfProfile(profile)
  throw new AppError('unknown_provider_type', `The provider profile "${type}" does not exist`, {
    hint: "Import it again with 'openshell provider profile import'",
  })
}

/** The workspace's own profile of an id, else the one that all workspaces have; null without one. */
export async function findProfile(
  store: Store,
  id: string,
  workspace: string,
): Promise<ProfileRecord | null> {
  const own = workspace === '' ? null : await store.getProfile(workspace, id)
  return own ?? store.getProfile('', id)
}

function typeOfProfile({ document, id }: ProfileRecord): ProviderType {
  const profile = profileFromText(document, id)
  return profileType(profile, { aliases: [], hasRoute: profile.inferenceCapable })
}
