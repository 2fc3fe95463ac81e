import type { ProviderRecord } from '../../src/core/provider.ts'
import { Secret } from '../../src/core/secret.ts'
import { awsBedrock } from '../../src/providers/aws-bedrock.ts'
import { createRefresher, type RefreshResult } from '../../src/providers/refresher.ts'
import type { FetchRequest } from '../../src/system/fetch.ts'
import { aProvider } from '../store/records.ts'
import { FakeClock } from './fake-clock.ts'
import { noExecute, noFiles, rulesOf } from './outside.ts'
import { type Script, scriptedFetch } from './scripted-fetch.ts'
import { seededRandom } from './seeded-random.ts'

/** The fake clock’s time. */
export const NOW_MS = Date.UTC(2026, 10, 25, 12)
const HOUR_LATER = '2026-11-25T13:00:00Z'
/** A role. */
export const ROLE_ARN = 'arn:aws:iam::123456789012:role/path/agent'
/** Long-lived keys. */
export const USER = { AWS_ACCESS_KEY_ID: 'AKIAMADEUP', AWS_SECRET_ACCESS_KEY: 'made-up-secret' }
const TOKEN_FILE = '/tokens/web'
/** Configuration of a web identity. */
export const WEB = { AWS_ROLE_ARN: ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE: TOKEN_FILE }
/** Configuration of a container on ECS. */
export const RELATIVE = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '/v2/credentials/x' }

/** A provider of the type `aws-bedrock` in `eu-west-1`. */
export function provider(
  material: Readonly<Record<string, string>>,
  config: Readonly<Record<string, string>> = {},
): ProviderRecord {
  return aProvider({
    type: 'aws-bedrock',
    name: 'my-bedrock',
    material: new Map(Object.entries(material).map(([key, text]) => [key, new Secret(text)])),
    config: new Map(Object.entries({ AWS_REGION: 'eu-west-1', ...config })),
  })
}

interface World {
  readonly result: RefreshResult
  readonly requests: readonly FetchRequest[]
}

/** Refreshes once against a scripted AWS; its token files all hold the same text. */
export async function refresh(
  record: ProviderRecord,
  answerOf: (request: FetchRequest, index: number) => Script,
  options: { readonly allow?: readonly string[]; readonly fileText?: string } = {},
): Promise<World> {
  const clock = new FakeClock(NOW_MS)
  const peer = scriptedFetch(answerOf)
  const files = {
    ...noFiles,
    realPath: async (file: string) => file,
    read: async () => Buffer.from(options.fileText ?? 'identity\n'),
  }
  const rules = { ...rulesOf(options.allow ?? []), subjectTokenDirs: ['/tokens'] }
  const deps = { clock, files, fetch: peer.fetch, execute: noExecute, rules }
  const random = seededRandom(7)
  const refresher = createRefresher(awsBedrock, { ...deps, random })
  const result = await refresher.refresh(record, new AbortController().signal)
  return { result, requests: peer.requests }
}

/** A success of STS. */
export function stsAnswer(action: string, changes: Readonly<Record<string, string>> = {}): Script {
  const members = {
    ...{ AccessKeyId: 'ASIAMADEUP', SecretAccessKey: 'session-secret' },
    ...{ SessionToken: 'session-token', Expiration: HOUR_LATER, ...changes },
  }
  const xml = Object.entries(members).map(([name, text]) => `<${name}>${text}</${name}>`)
  return {
    headers: { 'content-type': 'text/xml' },
    body: `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result>
      <Credentials>${xml.join('\n')}</Credentials></${action}Result></${action}Response>`,
  }
}

/** A refusal of STS. */
export function stsError(status: number, code: string, message = 'Because'): Script {
  const error = `<Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error>`
  return { status, body: `<ErrorResponse>${error}<RequestId>r</RequestId></ErrorResponse>` }
}

/** A success of the container endpoint. */
export function keysAnswer(changes: Readonly<Record<string, unknown>> = {}): Script {
  const keys = { AccessKeyId: 'ASIAMADEUP', SecretAccessKey: 'session-secret' }
  return { body: { ...keys, Token: 'session-token', Expiration: HOUR_LATER, ...changes } }
}

/** A result in a few words. */
export function summary(result: RefreshResult): string {
  if (result.kind === 'minted') return `minted ${result.lifetimeMs / 1_000}`
  return `${result.failure.class} ${result.failure.code}`
}
