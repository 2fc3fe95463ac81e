import { AppError } from '../core/errors.ts'
import type { ProfileRecord } from '../core/provider.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import type { ProviderProfile } from '../wire/gen/openshell/v1/profile_pb.ts'
import { profileToText } from '../wire/profile.ts'
import { checkProfiles, type ProfileItem } from './profile-check.ts'
import { profileOfRecord, readProfile, visibleProfiles } from './profiles.ts'
import { adminRpc, changeRpc, type Rpc } from './rpc.ts'
import { checkName, checkPage } from './validate.ts'

/** How many profiles may come in one message. */
const BATCH_MAX = 100

/** What the profile methods need. */
export interface ProfileServiceDeps {
  readonly store: Store
  readonly clock: Clock
}

/**
 * The profile methods of `openshell.v1.OpenShell`. Other than elsewhere, a workspace of '' stands for
 * all workspaces here.
 */
export function profileRpcs(deps: ProfileServiceDeps): readonly Rpc[] {
  const { method } = OpenShell
  return [
    adminRpc(method.listProviderProfiles, async request => {
      const { limit, offset } = checkPage(request)
      const all = await visibleProfiles(deps.store, scopeOf(request))
      return { profiles: all.slice(offset, offset + limit) }
    }),
    adminRpc(method.getProviderProfile, async request => {
      const profile = await readProfile(deps.store, request.id, scopeOf(request))
      if (profile === null) throw unknown(request.id)
      return { profile }
    }),
    adminRpc(method.lintProviderProfiles, async request => {
      const diagnostics = [...checkBatch(request.profiles)]
      return { diagnostics, valid: diagnostics.length === 0 }
    }),
    changeRpc(method.importProviderProfiles, 'profile.import', async (request, note) => {
      const workspace = scopeOf(request)
      note({ workspace, profiles: idsOf(request.profiles), outcome: 'unchanged' })
      const taken = await findTaken(deps.store, workspace, request.profiles)
      const diagnostics = [...checkBatch(request.profiles), ...taken]
      if (diagnostics.length > 0) return { diagnostics, imported: false }
      const records = profilesOf(request.profiles).map(one => newRecord(deps, workspace, one))
      await deps.store.createProfiles(records)
      note({ outcome: 'done' })
      return { profiles: records.map(profileOfRecord), imported: true }
    }),
    changeRpc(method.updateProviderProfiles, 'profile.update', async (request, note) => {
      const workspace = scopeOf(request)
      const item: ProfileItem = request.profile ?? { source: '' }
      const profiles = request.id || (item.profile?.id ?? '')
      note({ workspace, profiles, outcome: 'unchanged' })
      const diagnostics = [...checkBatch([item]), ...checkSame(item, request.id)]
      if (diagnostics.length > 0) return { diagnostics, updated: false }
      const version = request.expectedResourceVersion || (item.profile?.resourceVersion ?? 0n)
      const [profile] = profilesOf([item])
      if (profile === undefined || version === 0n) throw versionMissing(request.id)
      const standing = await deps.store.getProfile(workspace, profile.id)
      if (standing === null) throw unknown(profile.id)
      const saved = await deps.store.saveProfile({
        ...standing,
        document: textOf(profile),
        version: Number(version),
      })
      if (saved === null) throw overtaken(profile.id)
      note({ outcome: 'done', version: saved.version })
      return { profile: profileOfRecord(saved), updated: true }
    }),
    changeRpc(method.deleteProviderProfile, 'profile.delete', async (request, note) => {
      const workspace = scopeOf(request)
      note({ workspace, profiles: request.id, outcome: 'unchanged' })
      const builtin = await readProfile(deps.store, request.id, '')
      if (builtin?.source === 'builtin') throw notOurs(request.id)
      const deleted = await deps.store.deleteProfile(workspace, request.id)
      if (deleted) note({ outcome: 'done' })
      return { deleted }
    }),
  ]
}

/** Whose profiles: those of all workspaces, or one's own. */
function scopeOf({ workspace }: { readonly workspace: string }): string {
  return workspace === '' ? '' : checkName(workspace, 'workspace')
}

function checkBatch(items: readonly ProfileItem[]) {
  if (items.length > 0 && items.length <= BATCH_MAX) return checkProfiles(items)
  throw new AppError('invalid_argument', `Expected 1 to ${BATCH_MAX} profiles`)
}

function profilesOf(items: readonly ProfileItem[]): readonly ProviderProfile[] {
  return items.flatMap(({ profile }) => (profile === undefined ? [] : [profile]))
}

/** What a person asked about, for the audit. */
function idsOf(items: readonly ProfileItem[]): string {
  return profilesOf(items)
    .map(one => one.id)
    .join(',')
}

/** Profiles that stand already are updated, not imported. */
async function findTaken(store: Store, workspace: string, items: readonly ProfileItem[]) {
  const all = await store.listProfiles(workspace)
  const standing = new Set(all.filter(one => one.workspace === workspace).map(one => one.id))
  return items.flatMap(({ profile, source }) => {
    if (profile === undefined || !standing.has(profile.id)) return []
    const message = `"${profile.id}" exists already: update it, or delete it first`
    return [{ source, profileId: profile.id, field: 'id', message, severity: 'error' }]
  })
}

function checkSame({ profile, source }: ProfileItem, id: string) {
  if (id === '' || profile === undefined || profile.id === id) return []
  const message = `The profile has the id "${profile.id.slice(0, 64)}", not "${id.slice(0, 64)}"`
  return [{ source, profileId: id, field: 'id', message, severity: 'error' }]
}

function newRecord(
  { clock }: ProfileServiceDeps,
  workspace: string,
  profile: ProviderProfile,
): ProfileRecord {
  const nowMs = clock.nowMs()
  return {
    ...{ workspace, id: profile.id, document: textOf(profile), version: 1 },
    ...{ createdAtMs: nowMs, updatedAtMs: nowMs },
  }
}

/** Without what its row says of it. */
function textOf(profile: ProviderProfile): string {
  return profileToText({ ...profile, resourceVersion: 0n, source: '', scope: '' })
}

function unknown(id: string): AppError {
  return new AppError('not_found', `Provider profile "${id.slice(0, 64)}" does not exist`, {
    hint: "See 'openshell provider list-profiles'",
  })
}

function versionMissing(id: string): AppError {
  return new AppError('invalid_argument', `The resource_version of profile "${id}" is missing`, {
    hint: 'Export the profile, change it, and update it with the version that it was exported with',
  })
}

function overtaken(id: string): AppError {
  return new AppError(
    'version_conflict',
    `Provider profile "${id}" was changed by someone else meanwhile`,
    { hint: 'Export it again and repeat the change' },
  )
}

function notOurs(id: string): AppError {
  return new AppError('invalid_argument', `"${id}" is a built-in profile, which cannot be deleted`)
}
