import { create } from '@bufbuild/protobuf'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { ProviderType } from '../providers/provider-type.ts'
import { findProviderType, providerTypes } from '../providers/registry.ts'
import type { DamagedProvider, DeletedProvider, Store } from '../store/store.ts'
import type { Random } from '../system/random.ts'
import { type Provider, ProviderSchema } from '../wire/gen/openshell/datamodel/v1/datamodel_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import {
  type ProviderProfile,
  ProviderProfileCategory,
  ProviderProfileSchema,
} from '../wire/gen/openshell/v1/profile_pb.ts'
import {
  type ProviderResponse,
  ProviderResponseSchema,
} from '../wire/gen/openshell/v1/provider_pb.ts'
import type { ProviderDesk } from './provider-desk.ts'
import type { ProviderReceipt } from './provider-receipt.ts'
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
      const { provider, workspace, noVerify } = request
      note({ workspace, ...subjectOf(provider) })
      const { wire, wish } = wished(provider, noVerify)
      const place = {
        workspace: checkWorkspace(workspace),
        name: nameOf(wire, deps.random),
        type: wire.type,
      }
      note({ provider: place.name })
      return answered(note, await deps.desk.create(place, wish))
    }),
    adminRpc(method.getProvider, async ({ name, workspace }) => ({
      provider: providerToWire(await requireProvider(deps.store, workspace, name)),
    })),
    adminRpc(method.listProviders, async request => {
      const workspace = request.allWorkspaces ? null : checkWorkspace(request.workspace)
      const { providers, damaged } = await deps.store.listProviders(workspace, checkPage(request))
      return { providers: [...providers.map(providerToWire), ...damaged.map(damagedToWire)] }
    }),
    changeRpc(method.updateProvider, 'provider.update', async (request, note) => {
      const { provider, workspace, noVerify } = request
      note({ workspace, ...subjectOf(provider) })
      const { wire, wish } = wished(provider, noVerify)
      const standing = await requireProvider(deps.store, workspace, wire.metadata?.name ?? '')
      if (wire.type !== '' && findProviderType(wire.type).type !== standing.type) {
        throw new AppError(
          'invalid_argument',
          `Provider "${standing.name}" is of type "${standing.type}"`,
          {
            hint: 'A type cannot be changed: delete the provider and add it anew',
          },
        )
      }
      const expectedVersion = Number(wire.metadata?.resourceVersion ?? 0n)
      const receipt = await deps.desk.update(standing, wish, expectedVersion)
      if (receipt.provider.version === standing.version) note({ outcome: 'unchanged' })
      return answered(note, receipt)
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
    adminRpc(method.listProviderProfiles, async request => {
      const { limit, offset } = checkPage(request)
      return { profiles: providerTypes.slice(offset, offset + limit).map(profileOf) }
    }),
    adminRpc(method.getProviderProfile, async ({ id }) => ({
      profile: profileOf(findProviderType(id)),
    })),
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
function nameOf({ metadata, type }: Provider, random: Random): string {
  const name = metadata?.name ?? ''
  if (name !== '') return checkName(name, 'provider')
  return `${findProviderType(type).type}-${uuid(random).slice(0, 8)}`
}

function wished(provider: Provider | undefined, isUnverified: boolean) {
  if (provider === undefined) throw new AppError('invalid_argument', 'The provider is missing')
  if (Object.keys(provider.credentialHandles).length > 0) {
    throw new AppError('invalid_argument', 'Credential handles cannot be set by a caller')
  }
  return {
    wire: provider,
    wish: { material: provider.credentials, config: provider.config, isUnverified },
  }
}

/** What a refused call was about, as the caller said it. */
function subjectOf(provider: Provider | undefined) {
  return { provider: provider?.metadata?.name ?? '', type: provider?.type ?? '' }
}

/** The answer, and what the audit line says of it. */
function answered(note: Note, receipt: ProviderReceipt): ProviderResponse {
  const { workspace, name, type, version, candidate } = receipt.provider
  note({ workspace, provider: name, type, version })
  if (candidate !== null) note({ candidate: 'kept' })
  return receiptToWire(receipt)
}

function receiptToWire({ provider, credential, warning }: ProviderReceipt): ProviderResponse {
  return create(ProviderResponseSchema, {
    provider: providerToWire(provider),
    mint: {
      credentialKey: credential?.key ?? '',
      expiresAtMs: BigInt(credential?.token?.expiresAtMs ?? 0),
      warning,
    },
  })
}

/** A provider as the wire has it, without a value of a credential. */
export function providerToWire(provider: ProviderRecord): Provider {
  return create(ProviderSchema, {
    metadata: {
      id: provider.id,
      name: provider.name,
      workspace: provider.workspace,
      createdAtMs: BigInt(provider.createdAtMs),
      resourceVersion: BigInt(provider.version),
    },
    type: provider.type,
    credentials: Object.fromEntries([...provider.material.keys()].map(key => [key, REDACTED])),
    config: Object.fromEntries(provider.config),
  })
}

/** What can be told of a provider whose row is damaged: that it is there, and can be deleted. */
function damagedToWire({ id, workspace, name, type }: DamagedProvider): Provider {
  return create(ProviderSchema, { metadata: { id, name, workspace }, type })
}

function profileOf(type: ProviderType): ProviderProfile {
  return create(ProviderProfileSchema, {
    id: type.type,
    displayName: type.displayName,
    description: type.description,
    category: ProviderProfileCategory.INFERENCE,
    inferenceCapable: true,
    source: 'builtin',
    aliases: [...type.aliases],
    example: type.example,
    config: type.configKeys.map(key => ({
      name: key.name,
      description: key.description,
      required: key.isRequired,
    })),
    credentials: type.credentialKeys.map(key => ({
      name: key.name,
      description: key.description,
      envVars: [key.name, ...key.aliases],
    })),
  })
}
