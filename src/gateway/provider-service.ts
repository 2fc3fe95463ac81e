import { create } from '@bufbuild/protobuf'
import { AppError } from '../core/errors.ts'
import { outputKeys } from '../core/outputs.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { ProviderType } from '../providers/provider-type.ts'
import { knownProviderType } from '../providers/registry.ts'
import type { DamagedProvider, DeletedProvider, Store } from '../store/store.ts'
import type { Random } from '../system/random.ts'
import { type Provider, ProviderSchema } from '../wire/gen/openshell/datamodel/v1/datamodel_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import {
  type ProviderResponse,
  ProviderResponseSchema,
} from '../wire/gen/openshell/v1/provider_pb.ts'
import type { ProviderDesk } from './provider-desk.ts'
import type { ProviderReceipt } from './provider-receipt.ts'
import { findType } from './provider-types.ts'
import { adminRpc, changeRpc, type Note, type Rpc } from './rpc.ts'
import { uuid } from './uuid.ts'
import { checkName, checkPage, checkWorkspace } from './validate.ts'

/** What stands in an answer where a credential would. */
const REDACTED = 'REDACTED'

/** What the provider methods need. */
export interface ProviderServiceDeps {
  readonly store: Store
  readonly random: Random
  readonly desk: ProviderDesk
  readonly onDelete: (provider: DeletedProvider) => void
}

/** The provider methods of `openshell.v1.OpenShell`. */
export function providerRpcs(deps: ProviderServiceDeps): readonly Rpc[] {
  const { method } = OpenShell
  return [
    changeRpc(method.createProvider, 'provider.create', async (request, note) => {
      const { provider, workspace, noVerify, needsCredential } = request
      note({ workspace, ...subjectOf(provider) })
      const { wire, wish } = wished(provider, noVerify)
      const place = checkWorkspace(workspace)
      const { type, profileWorkspace } = await findType(deps.store, wire.type, place)
      checkProfileWorkspace(wire, profileWorkspace)
      const name = nameOf(wire, { type, random: deps.random })
      note({ provider: name })
      const wanted = { workspace: place, name, type: type.type }
      const receipt = await deps.desk.create(wanted, { ...wish, needsCredential })
      return answered(deps, note, receipt)
    }),
    adminRpc(method.getProvider, async ({ name, workspace }) => ({
      provider: await providerToWire(
        deps.store,
        await requireProvider(deps.store, workspace, name),
      ),
    })),
    adminRpc(method.listProviders, async request => {
      const workspace = request.allWorkspaces ? null : checkWorkspace(request.workspace)
      const { providers, damaged } = await deps.store.listProviders(workspace, checkPage(request))
      const readable = await Promise.all(providers.map(one => providerToWire(deps.store, one)))
      return { providers: [...readable, ...damaged.map(damagedToWire)] }
    }),
    changeRpc(method.updateProvider, 'provider.update', async (request, note) => {
      const { provider, workspace, noVerify } = request
      note({ workspace, ...subjectOf(provider) })
      const { wire, wish } = wished(provider, noVerify)
      const standing = await requireProvider(deps.store, workspace, wire.metadata?.name ?? '')
      checkSameType(wire, standing)
      checkProfileWorkspace(wire, standing.profileWorkspace)
      const expectedVersion = Number(wire.metadata?.resourceVersion ?? 0n)
      const expiries = { ...wish.notes.expiries, ...instantsOf(request.credentialExpiresAtMs) }
      const changes = { ...wish, notes: { ...wish.notes, expiries } }
      const receipt = await deps.desk.update(standing, changes, expectedVersion)
      if (receipt.provider.version === standing.version) note({ outcome: 'unchanged' })
      return answered(deps, note, receipt)
    }),
    changeRpc(method.deleteProvider, 'provider.delete', async ({ name, workspace }, note) => {
      note({ workspace, provider: name, outcome: 'unchanged' })
      const place = checkWorkspace(workspace)
      note({ workspace: place })
      const deleted = await deps.store.deleteProvider(place, name)
      if (deleted === null) return { deleted: false }
      note({ type: deleted.type, version: deleted.version, outcome: 'done' })
      deps.onDelete(deleted)
      return { deleted: true }
    }),
  ]
}

/** Finds a provider by name. Throws `not_found`. */
export async function requireProvider(
  store: Store,
  workspace: string,
  name: string,
): Promise<ProviderRecord> {
  const provider = await store.getProvider(checkWorkspace(workspace), name)
  if (provider !== null) return provider
  throw new AppError('not_found', `Provider "${name}" does not exist`, {
    hint: "See 'openshell provider list'",
  })
}

/** The name that was given; without one, one that tells the type. */
function nameOf(
  { metadata }: Provider,
  { type, random }: { readonly type: ProviderType; readonly random: Random },
): string {
  const name = metadata?.name ?? ''
  if (name !== '') return checkName(name, 'provider')
  return `${type.type}-${uuid(random).slice(0, 8)}`
}

function checkSameType({ type }: Provider, standing: ProviderRecord): void {
  const wanted = knownProviderType(type)?.type ?? type.trim().toLowerCase()
  if (type === '' || wanted === standing.type) return
  throw new AppError(
    'invalid_argument',
    `Provider "${standing.name}" is of type "${standing.type}"`,
    { hint: 'A type cannot be changed: delete the provider and add it anew' },
  )
}

/** Whose profile a provider is of follows from its type, and stays. */
function checkProfileWorkspace({ profileWorkspace }: Provider, standing: string): void {
  if (profileWorkspace === '' || profileWorkspace === standing) return
  throw new AppError(
    'invalid_argument',
    `The profile of this type is not one of workspace "${profileWorkspace.slice(0, 64)}"`,
  )
}

function wished(provider: Provider | undefined, isUnverified: boolean) {
  if (provider === undefined) throw new AppError('invalid_argument', 'The provider is missing')
  if (Object.keys(provider.credentialHandles).length > 0) {
    throw new AppError('invalid_argument', 'Credential handles cannot be set by a caller')
  }
  return {
    wire: provider,
    wish: {
      ...{ material: provider.credentials, config: provider.config, isUnverified },
      notes: {
        labels: provider.metadata?.labels ?? {},
        annotations: provider.metadata?.annotations ?? {},
        expiries: instantsOf(provider.credentialExpiresAtMs),
      },
    },
  }
}

function instantsOf(instants: Readonly<Record<string, bigint>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(instants).map(([key, at]) => [key, Number(at)]))
}

/** What a refused call was about, as the caller said it. */
function subjectOf(provider: Provider | undefined) {
  return { provider: provider?.metadata?.name ?? '', type: provider?.type ?? '' }
}

/** The answer, and what the audit line says of it. */
async function answered(
  { store }: ProviderServiceDeps,
  note: Note,
  receipt: ProviderReceipt,
): Promise<ProviderResponse> {
  const { workspace, name, type, version, candidate } = receipt.provider
  note({ workspace, provider: name, type, version })
  if (candidate !== null) note({ candidate: 'kept' })
  return receiptToWire(store, receipt)
}

async function receiptToWire(
  store: Store,
  { provider, credential, warning }: ProviderReceipt,
): Promise<ProviderResponse> {
  return create(ProviderResponseSchema, {
    provider: await providerToWire(store, provider),
    mint: {
      credentialKey: credential?.key ?? '',
      expiresAtMs: BigInt(credential?.token?.expiresAtMs ?? 0),
      warning,
    },
  })
}

/**
 * A provider as callers see it: what is refreshed of it stands among its credentials, and no value is
 * told.
 */
export async function providerToWire(store: Store, provider: ProviderRecord): Promise<Provider> {
  const rows = await store.listCredentials(provider.id)
  const configured = rows.filter(row => row.grant !== null).flatMap(outputKeys)
  const keys = [...new Set([...provider.material.keys(), ...configured])].sort()
  const minted = rows.flatMap(row =>
    row.token === null
      ? []
      : outputKeys(row).map(key => [key, row.token?.expiresAtMs ?? 0] as const),
  )
  const expiries = [...new Map([...provider.expiries, ...minted])]
  return create(ProviderSchema, {
    metadata: {
      id: provider.id,
      name: provider.name,
      workspace: provider.workspace,
      createdAtMs: BigInt(provider.createdAtMs),
      resourceVersion: BigInt(provider.version),
      labels: Object.fromEntries(provider.labels),
      annotations: Object.fromEntries(provider.annotations),
    },
    type: provider.type,
    profileWorkspace: provider.profileWorkspace,
    credentials: Object.fromEntries(keys.map(key => [key, REDACTED])),
    credentialExpiresAtMs: Object.fromEntries(expiries.map(([key, at]) => [key, BigInt(at)])),
    config: Object.fromEntries(provider.config),
  })
}

/** What can be told of a provider whose row is damaged: that it is there, and can be deleted. */
function damagedToWire({ id, workspace, name, type }: DamagedProvider): Provider {
  return create(ProviderSchema, { metadata: { id, name, workspace }, type })
}
