import { randomUUID } from 'node:crypto'
import type { ConfiguredGrant } from '../../src/core/configured-grant.ts'
import type { AccessToken, Credential } from '../../src/core/credential.ts'
import type { ProviderRecord } from '../../src/core/provider.ts'
import { bareSandbox, type FullSandbox } from '../../src/core/sandbox.ts'
import { Secret } from '../../src/core/secret.ts'
import type { WorkspaceRecord } from '../../src/core/workspace.ts'
import type { ContentChange } from '../../src/store/store.ts'

export const TOKEN_KEY = 'GOOGLE_VERTEX_AI_TOKEN'

export function aProvider(content: Partial<ProviderRecord> = {}): ProviderRecord {
  return {
    id: randomUUID(),
    workspace: 'default',
    name: 'my-vertex',
    type: 'google-vertex-ai',
    material: new Map([['GOOGLE_SERVICE_ACCOUNT_JSON', new Secret(`key-${randomUUID()}`)]]),
    config: new Map([['VERTEX_AI_REGION', 'us-east1']]),
    candidate: null,
    ...{ profileWorkspace: '', expiries: new Map(), labels: new Map(), annotations: new Map() },
    version: 1,
    createdAtMs: 1_000,
    updatedAtMs: 1_000,
    ...content,
  }
}

export function aSandbox(content: Partial<FullSandbox> = {}): FullSandbox {
  const record = { id: randomUUID(), workspace: 'default', name: 'box', createdAtMs: 5 }
  return { ...bareSandbox(record), ...content }
}

export function aWorkspace(name: string, content: Partial<WorkspaceRecord> = {}): WorkspaceRecord {
  return { id: randomUUID(), name, labels: new Map(), createdAtMs: 7, version: 1, ...content }
}

export function aToken(content: Partial<AccessToken> = {}): AccessToken {
  return {
    value: new Secret(`token-${randomUUID()}`),
    issuedAtMs: 2_000,
    expiresAtMs: 3_602_000,
    ...content,
  }
}

export function aCredential(
  provider: Pick<ProviderRecord, 'id'>,
  content: Partial<Credential> = {},
): Credential {
  return {
    providerId: provider.id,
    key: TOKEN_KEY,
    grant: null,
    version: 1,
    generation: 0,
    token: null,
    dueAtMs: 5_000,
    mandatoryAtMs: 6_000,
    lastRefreshAtMs: 0,
    lastAttemptAtMs: 0,
    lastForcedAtMs: 0,
    consecutiveFailures: 0,
    failure: null,
    failingSinceMs: 0,
    isDisabled: false,
    spends: 0,
    candidateSpends: 0,
    candidateDueAtMs: 0,
    candidateFailure: null,
    history: [],
    claimedBy: '',
    claimedUntilMs: 0,
    claimedFrom: '',
    ...content,
  }
}

export function aGrant(content: Partial<ConfiguredGrant> = {}): ConfiguredGrant {
  return {
    epoch: randomUUID(),
    strategy: 'oauth2_refresh_token',
    material: new Map([['refresh_token', new Secret(`refresh-${randomUUID()}`)]]),
    tokenUrl: 'https://login.acme.test/token',
    scopes: ['one', 'two'],
    refreshBeforeSeconds: 60,
    maxLifetimeSeconds: 600,
    outputs: new Map(),
    ...content,
  }
}

/** Rotated material of a provider as it was at a version. */
export function rotation(
  providerVersion: number,
  rotatedMaterial: ReadonlyMap<string, Secret>,
): ContentChange {
  return { providerVersion, rotatedMaterial, candidate: 'kept' }
}

/** A record with its secrets in clear, to compare: `Secret`s look alike to `deepEqual`. */
export function revealed(value: unknown): unknown {
  if (value instanceof Secret) return { secret: value.reveal() }
  if (value instanceof Map) return [...value].map(([key, one]) => [key, revealed(one)])
  if (Array.isArray(value)) return value.map(revealed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, revealed(one)]))
}

/** For the narrowing that `assert.ok` gives, as an expression. */
export function present<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error('Expected a value, got none')
  return value
}
