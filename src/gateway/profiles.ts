import { create } from '@bufbuild/protobuf'
import type { ProfileRecord, ProviderRecord } from '../core/provider.ts'
import { BUILTIN_PROFILES } from '../providers/builtin-profiles.ts'
import type { ProviderType } from '../providers/provider-type.ts'
import { knownProviderType, providerTypes } from '../providers/registry.ts'
import { toolProfiles } from '../providers/tool-types.ts'
import type { Store } from '../store/store.ts'
import {
  type ProviderProfile,
  ProviderProfileCategory,
  type ProviderProfileCredential,
  ProviderProfileSchema,
} from '../wire/gen/openshell/v1/profile_pb.ts'
import { profileFromDocument, profileFromText } from '../wire/profile.ts'
import { findProfile } from './provider-types.ts'

const BUILTIN = { source: 'builtin', scope: 'platform' } as const

/** What OpenShell itself says of its types, by id. */
const documented: ReadonlyMap<string, ProviderProfile> = new Map(
  [...BUILTIN_PROFILES, ...toolProfiles].map(one => [one.id, profileFromDocument(one)]),
)

/** Every profile that this program comes with, in the order of their ids. */
const builtinProfiles: readonly ProviderProfile[] = [
  ...providerTypes.map(profileOfType),
  ...toolProfiles.map(({ id }) => profileOfTool(id)),
].sort(byId)

/** A profile by its id or an alias of it, as a workspace sees it; null without one. */
export async function readProfile(
  store: Store,
  id: string,
  workspace: string,
): Promise<ProviderProfile | null> {
  const known = knownProviderType(id)
  if (known !== null) return builtinProfiles.find(one => one.id === known.type) ?? null
  const record = await findProfile(store, id.trim().toLowerCase(), workspace)
  return record === null ? null : profileOfRecord(record)
}

/** The profile that a provider's type is of; null when it is gone. */
export async function profileOfProvider(
  store: Store,
  { type, profileWorkspace }: Pick<ProviderRecord, 'type' | 'profileWorkspace'>,
): Promise<ProviderProfile | null> {
  if (knownProviderType(type) !== null) return readProfile(store, type, '')
  const record = await store.getProfile(profileWorkspace, type)
  return record === null ? null : profileOfRecord(record)
}

/** The profiles that a workspace sees: a workspace's own hides the one of all workspaces. */
export async function visibleProfiles(
  store: Store,
  workspace: string,
): Promise<readonly ProviderProfile[]> {
  // Those of all workspaces come first among those of one id.
  const records = new Map((await store.listProfiles(workspace)).map(one => [one.id, one]))
  return [...builtinProfiles, ...[...records.values()].map(profileOfRecord)].sort(byId)
}

/** A stored profile, with what its row says of it. */
export function profileOfRecord({
  document,
  id,
  version,
  workspace,
}: ProfileRecord): ProviderProfile {
  const profile = profileFromText(document, id)
  return {
    ...profile,
    resourceVersion: BigInt(version),
    source: 'user',
    scope: workspace === '' ? 'platform' : 'workspace',
  }
}

/** The credential of a profile that stands under a key; undefined without one. */
export function credentialOf(
  profile: ProviderProfile | null,
  key: string,
): ProviderProfileCredential | undefined {
  return profile?.credentials.find(one => one.envVars.includes(key))
}

function profileOfTool(id: string): ProviderProfile {
  const aliases = [...(knownProviderType(id)?.aliases ?? [])]
  return { ...saidOf(id), aliases, ...BUILTIN }
}

function saidOf(id: string): ProviderProfile {
  const { INFERENCE: category } = ProviderProfileCategory
  return documented.get(id) ?? create(ProviderProfileSchema, { category })
}

/** What OpenShell says of a type, and what this program takes beyond it. */
function profileOfType(type: ProviderType): ProviderProfile {
  const said = saidOf(type.type)
  const names = new Set(said.credentials.flatMap(one => one.envVars))
  const own = create(ProviderProfileSchema, {
    config: type.configKeys.map(key => ({
      name: key.name,
      description: key.description,
      required: key.isRequired,
    })),
    credentials: type.credentialKeys
      .filter(key => !names.has(key.name))
      .map(key => ({
        name: key.name,
        description: key.description,
        envVars: [key.name, ...key.aliases.filter(alias => !names.has(alias))],
      })),
  })
  return {
    ...said,
    id: type.type,
    displayName: type.displayName,
    description: type.description,
    inferenceCapable: true,
    ...BUILTIN,
    aliases: [...type.aliases],
    example: type.example,
    config: own.config,
    credentials: [...said.credentials, ...own.credentials],
  }
}

function byId(one: { readonly id: string }, other: { readonly id: string }): number {
  return one.id < other.id ? -1 : 1
}
