import type { Standing } from '../core/credential.ts'
import { orNothing, parseFailure } from './credential-row.ts'
import type { StoreContext } from './database.ts'
import type { CredentialsTable } from './schema.ts'
import type { ProviderStanding, Store } from './store.ts'

/** See `Store.listStandings`. */
export async function listStandings(
  { database }: StoreContext,
  workspace: string | null,
  { after, limit }: Parameters<Store['listStandings']>[1],
): Promise<readonly ProviderStanding[]> {
  const rows = await database.db
    .selectFrom('credentials as credential')
    .innerJoin('providers as provider', 'provider.id', 'credential.provider_id')
    .select(['provider.workspace', 'provider.name', ...COLUMNS])
    .where(eb =>
      eb(
        eb.refTuple('credential.provider_id', 'credential.key'),
        '>',
        eb.tuple(after?.providerId ?? '', after?.key ?? ''),
      ),
    )
    .$if(workspace !== null, query => query.where('provider.workspace', '=', workspace))
    .orderBy('credential.provider_id')
    .orderBy('credential.key')
    .limit(limit)
    .execute()
  return rows.map(row => ({
    provider: { id: row.provider_id, workspace: row.workspace, name: row.name },
    credential: toStanding(row),
  }))
}

const COLUMNS = [
  'credential.provider_id',
  'credential.key',
  'credential.version',
  'credential.generation',
  'credential.token_issued_at_ms',
  'credential.token_expires_at_ms',
  'credential.due_at_ms',
  'credential.last_refresh_at_ms',
  'credential.consecutive_failures',
  'credential.failure',
  'credential.failing_since_ms',
  'credential.is_disabled',
] as const

type StandingRow = Pick<
  CredentialsTable,
  (typeof COLUMNS)[number] extends `credential.${infer Name extends keyof CredentialsTable}`
    ? Name
    : never
>

function toStanding(row: StandingRow): Standing {
  const { token_issued_at_ms: issuedAtMs, token_expires_at_ms: expiresAtMs } = row
  const what = `credential "${row.key}" of provider ${row.provider_id}`
  return {
    providerId: row.provider_id,
    key: row.key,
    version: row.version,
    generation: row.generation,
    token: issuedAtMs === null || expiresAtMs === null ? null : { issuedAtMs, expiresAtMs },
    dueAtMs: row.due_at_ms,
    lastRefreshAtMs: row.last_refresh_at_ms,
    consecutiveFailures: row.consecutive_failures,
    failure: orNothing(() => parseFailure(row.failure, what), null),
    failingSinceMs: row.failing_since_ms,
    isDisabled: row.is_disabled !== 0,
  }
}
