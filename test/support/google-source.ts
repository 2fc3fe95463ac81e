import { Secret } from '../../src/core/secret.ts'
import { googleVertexAi } from '../../src/providers/google-vertex-ai.ts'
import type { ProviderRules } from '../../src/providers/provider-type.ts'
import { createRefresher, type RefreshResult } from '../../src/providers/refresher.ts'
import type { Execute } from '../../src/system/execute.ts'
import type { FetchRequest } from '../../src/system/fetch.ts'
import type { Files } from '../../src/system/files.ts'
import { aProvider } from '../store/records.ts'
import { FakeClock } from './fake-clock.ts'
import { noExecute, noFiles, rulesOf } from './outside.ts'
import { formOf, type Script, scriptedFetch } from './scripted-fetch.ts'
import { seededRandom } from './seeded-random.ts'

/** The instant at which these tests mint. */
export const NOW_MS = 1_800_000_000_000

/** A token as Google's endpoints answer it. */
export const TOKEN_ANSWER = {
  body: { access_token: 'ya29.token', expires_in: 3_599, token_type: 'Bearer' },
}

type Fields = Readonly<Record<string, unknown>>

/** A person's sign-in, as gcloud writes it; `undefined` takes a field away. */
export function signInFile(fields: Fields = {}): Fields {
  return {
    type: 'authorized_user',
    client_id: 'client.apps.googleusercontent.com',
    client_secret: 'test-client-secret',
    refresh_token: '1//test-refresh-token',
    ...fields,
  }
}

/** A federated workload whose subject token is at `https://issuer.example/token`. */
export function federatedFile(fields: Fields = {}): Fields {
  return {
    type: 'external_account',
    audience:
      '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: 'https://sts.googleapis.com/v1/token',
    credential_source: { url: 'https://issuer.example/token', headers: { 'X-Show': 'me' } },
    ...fields,
  }
}

/** The outside world of one mint. */
export interface MintSetup {
  readonly config?: Readonly<Record<string, string>>
  readonly rules?: Partial<ProviderRules>
  readonly files?: Files
  readonly execute?: Execute
  /** What each host says; a list is said one by one. */
  readonly answers?: Readonly<Record<string, Script | readonly Script[]>>
}

/** What came of it. */
export interface MintReport {
  readonly result: RefreshResult
  readonly requests: readonly FetchRequest[]
}

/** Provider of type `google-vertex-ai` with this credential file; null gives it none. */
export function providerOf(file: Fields | null, config: Readonly<Record<string, string>> = {}) {
  const json = new Secret(JSON.stringify(file))
  return aProvider({
    material: new Map(file === null ? [] : [['GOOGLE_APPLICATION_CREDENTIALS_JSON', json]]),
    config: new Map(Object.entries({ VERTEX_AI_PROJECT_ID: 'my-project', ...config })),
  })
}

/** Mints once from a credential file, before peers that say what they are told. */
export async function mintFrom(file: Fields | null, setup: MintSetup = {}): Promise<MintReport> {
  const counts = new Map<string, number>()
  const peer = scriptedFetch(request => {
    const { host } = new URL(request.url)
    const said = setup.answers?.[host] ?? TOKEN_ANSWER
    const list: readonly Script[] = Array.isArray(said) ? said : [said]
    const count = counts.get(host) ?? 0
    counts.set(host, count + 1)
    return list[Math.min(count, list.length - 1)] ?? TOKEN_ANSWER
  })
  const refresher = createRefresher(googleVertexAi, {
    fetch: peer.fetch,
    clock: new FakeClock(NOW_MS),
    random: seededRandom(),
    files: setup.files ?? noFiles,
    execute: setup.execute ?? noExecute,
    rules: { ...rulesOf(['issuer.example']), ...setup.rules },
  })
  const provider = providerOf(file, setup.config)
  const result = await refresher.refresh(provider, new AbortController().signal)
  return { result, requests: peer.requests }
}

/** A request in the words of a test: method, URL, the headers that matter, form or JSON. */
export function shown(request: FetchRequest | undefined): Fields {
  if (request === undefined) return {}
  const usual = ['accept', 'content-type']
  const isForm = request.headers.get('content-type') === 'application/x-www-form-urlencoded'
  const text = Buffer.from(request.body ?? []).toString()
  return {
    call: `${request.method} ${request.url}`,
    headers: Object.fromEntries([...request.headers].filter(([name]) => !usual.includes(name))),
    body: isForm ? Object.fromEntries(formOf(request)) : text === '' ? null : JSON.parse(text),
  }
}

/** Class and code of a failure, `minted` for a token. */
export function verdictOf({ result }: MintReport): string {
  if (result.kind === 'minted') return 'minted'
  return `${result.failure.class} ${result.failure.code}`
}
