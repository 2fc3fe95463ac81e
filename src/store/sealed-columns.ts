import { candidateContext } from './content.ts'
import { tokenContext } from './credential-row.ts'
import { gatewaySecretContext } from './gateway-secrets.ts'
import { grantContext } from './grant.ts'
import { materialContext } from './material.ts'
import { specContext } from './sandboxes.ts'

/** A column of envelopes. */
export interface SealedColumn {
  readonly table: 'provider_secrets' | 'providers' | 'credentials' | 'gateway_secrets' | 'sandboxes'
  readonly column:
    | 'envelope'
    | 'candidate_envelope'
    | 'token_envelope'
    | 'grant_envelope'
    | 'spec_envelope'
  /** The primary key: one column or two. */
  readonly keys: readonly [string] | readonly [string, string]
  /** Where the envelope of a row belongs, from its primary key; the second part may be empty. */
  readonly contextOf: (first: string, second: string) => string
}

/** Every column that holds envelopes. A test holds this against the database. */
export const SEALED_COLUMNS: readonly SealedColumn[] = [
  {
    table: 'provider_secrets',
    column: 'envelope',
    keys: ['provider_id', 'key'],
    contextOf: materialContext,
  },
  { table: 'providers', column: 'candidate_envelope', keys: ['id'], contextOf: candidateContext },
  {
    table: 'credentials',
    column: 'token_envelope',
    keys: ['provider_id', 'key'],
    contextOf: tokenContext,
  },
  {
    table: 'credentials',
    column: 'grant_envelope',
    keys: ['provider_id', 'key'],
    contextOf: grantContext,
  },
  { table: 'gateway_secrets', column: 'envelope', keys: ['name'], contextOf: gatewaySecretContext },
  { table: 'sandboxes', column: 'spec_envelope', keys: ['id'], contextOf: specContext },
]
