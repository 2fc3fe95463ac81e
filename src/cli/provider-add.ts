import type { Command } from 'commander'
import { AppError, type ErrorCode } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { unreachable } from '../core/unreachable.ts'
import type { ProviderResponse } from '../wire/gen/openshell/v1/provider_pb.ts'
import {
  type CredentialOptions,
  credentialFlags,
  type ProviderInput,
  readProviderInput,
} from './assignment.ts'
import { type Context, define, flag, repeatedFlag } from './command.ts'
import type { Gateway } from './gateway-call.ts'
import { GCLOUD_TYPE, readGcloudCredentials } from './gcloud-adc.ts'
import { discoverInEnvironment } from './provider-discovery.ts'
import { listProfiles } from './provider-profiles.ts'
import { noteLine, paint, printable, printDone, printLine, type Terminal } from './terminal.ts'
import { formatInstant, instantOf, parseInstant } from './time.ts'
import { UsageCheck } from './usage.ts'
import { withGateway } from './with-gateway.ts'

/** The gateway answers when the first token is minted or refused, which takes the vendor's time. */
const MINT_TIMEOUT_MS = 60_000

/** Refusals of an update that come before anything is stored. */
const REFUSED_UNCHANGED: readonly ErrorCode[] = [
  'mint_refused',
  'invalid_credential',
  'invalid_config',
  'endpoint_forbidden',
]

/** `openshell provider add`. */
export function declareAdd(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Add a provider; its first token is minted before the command returns.',
    example:
      'openshell provider add --type vertex --name my-vertex \\\n' +
      '  --credential-file GOOGLE_SERVICE_ACCOUNT_JSON=sa.json \\\n' +
      '  --config VERTEX_BASE_URL=https://us-east1-aiplatform.googleapis.com/v1/projects/P/locations/us-east1',
    flags: [
      flag('--name <name>', 'what to call it'),
      flag('--type <type>', 'vendor; "openshell provider list-profiles" lists them'),
      flag('--from-env', 'take what the environment holds for the type, or for the one that fits'),
      flag('--from-existing', 'the same as --from-env'),
      flag('--from-gcloud-adc', 'take what "gcloud auth application-default login" left here'),
      flag('--runtime-credentials', 'without a credential: its refresh is configured next'),
      ...credentialFlags(),
    ],
    run: async () => {
      const options = command.opts<AddOptions>()
      const check = new UsageCheck()
      const name = check.required('--name', options.name)
      const source = sourceOf(options, check)
      const { type = '' } = options
      if (source === 'flags') check.required('--type', type)
      const given = readProviderInput(options, terminal, { check, mayBeEmpty: false })
      check.finish()
      const answer = await withGateway(command, context, async gateway => {
        const wish = await wishOf(gateway, { source, type, given, terminal })
        return gateway.call(
          gateway.openshell.createProvider,
          {
            provider: {
              metadata: { name, workspace: gateway.workspace },
              type: wish.type,
              credentials: reveal(wish.credentials),
              config: Object.fromEntries(wish.config),
            },
            workspace: gateway.workspace,
            noVerify: !options.verify,
            needsCredential: options.runtimeCredentials !== true,
          },
          { timeoutMs: MINT_TIMEOUT_MS },
        )
      })
      printDone(terminal, `Created provider ${name} (${answer.provider?.type || type})`)
      reportMint(terminal, answer)
    },
  })
}

interface AddOptions extends CredentialOptions {
  readonly name?: string
  readonly type?: string
  readonly fromEnv?: boolean
  readonly fromExisting?: boolean
  readonly fromGcloudAdc?: boolean
  readonly runtimeCredentials?: boolean
}

/** Where the credentials come from. */
type CredentialSource = 'flags' | 'environment' | 'gcloud'

function sourceOf(options: AddOptions, check: UsageCheck): CredentialSource {
  const isFromEnvironment = options.fromEnv === true || options.fromExisting === true
  const given = [
    ...(isFromEnvironment ? ['--from-env'] : []),
    ...(options.fromGcloudAdc === true ? ['--from-gcloud-adc'] : []),
    ...(options.runtimeCredentials === true ? ['--runtime-credentials'] : []),
    ...(options.credential === undefined ? [] : ['--credential']),
    ...(options.credentialFile === undefined ? [] : ['--credential-file']),
  ]
  const source =
    options.fromGcloudAdc === true ? 'gcloud' : isFromEnvironment ? 'environment' : 'flags'
  const isAlone = source !== 'flags' || options.runtimeCredentials === true
  if (isAlone && given.length > 1) check.add(`${given.join(' and ')} exclude each other`)
  return source
}

/** What to send; what was found is said on standard error, by name, and what was given wins. */
async function wishOf(
  gateway: Gateway,
  options: {
    readonly source: CredentialSource
    readonly type: string
    readonly given: ProviderInput
    readonly terminal: Terminal
  },
): Promise<ProviderInput & { readonly type: string }> {
  const { source, type, given, terminal } = options
  switch (source) {
    case 'flags':
      return { ...given, type }
    case 'environment': {
      const found = discoverInEnvironment(terminal.env, await listProfiles(gateway), type)
      noteLine(terminal, `using ${found.variables.join(', ')} from the environment`)
      return { ...found, config: new Map([...found.config, ...given.config]) }
    }
    case 'gcloud': {
      const found = readGcloudCredentials(terminal, given.config)
      for (const note of found.notes) noteLine(terminal, printable(note))
      const config = new Map([...found.config, ...given.config])
      return { credentials: found.credentials, config, type: type || GCLOUD_TYPE }
    }
    default:
      return unreachable(source)
  }
}

/** `openshell provider update`. */
export function declareUpdate(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence:
      'Change a provider: a key given is tried, then replaces the one stored; KEY= takes it away.',
    example:
      'openshell provider update my-vertex --credential-file GOOGLE_SERVICE_ACCOUNT_JSON=new.json',
    flags: [
      ...credentialFlags(),
      repeatedFlag(
        '--credential-expires-at <key=instant>',
        'when a static credential ends: RFC 3339 or ms; 0 takes it away',
      ),
    ],
    run: async () => {
      const [name = ''] = command.args
      const options = command.opts<UpdateOptions>()
      const check = new UsageCheck()
      const input = readProviderInput(options, terminal, { check, mayBeEmpty: true })
      const expiries = readExpiries(options.credentialExpiresAt ?? [], check)
      if (input.credentials.size + input.config.size + expiries.size === 0) {
        check.add('there is nothing to change: give --credential, --credential-file or --config')
      }
      check.finish()
      const answer = await withGateway(command, context, gateway =>
        keepingOld(name, () =>
          gateway.call(
            gateway.openshell.updateProvider,
            {
              provider: {
                metadata: { name, workspace: gateway.workspace },
                credentials: reveal(input.credentials),
                config: Object.fromEntries(input.config),
              },
              credentialExpiresAtMs: Object.fromEntries(expiries),
              workspace: gateway.workspace,
              noVerify: !options.verify,
            },
            { timeoutMs: MINT_TIMEOUT_MS },
          ),
        ),
      )
      printDone(terminal, `Updated provider ${name}`)
      const isNewKey = [...input.credentials.values()].some(secret => !secret.isEmpty)
      const hasToken = answer.mint !== undefined && answer.mint.credentialKey !== ''
      if (isNewKey && answer.mint?.warning === '') {
        printLine(terminal, `  the new key serves${hasToken ? '; it was tried first' : ''}`)
      }
      reportMint(terminal, answer)
    },
  })
}

interface UpdateOptions extends CredentialOptions {
  readonly credentialExpiresAt?: readonly string[]
}

function readExpiries(texts: readonly string[], check: UsageCheck): ReadonlyMap<string, bigint> {
  const label = '--credential-expires-at'
  const entries = texts.map(text => {
    const at = text.indexOf('=')
    if (at < 1) check.add(`${label} takes KEY=INSTANT`)
    const atMs = at < 1 ? null : parseInstant(check, label, text.slice(at + 1))
    return [text.slice(0, Math.max(0, at)), BigInt(atMs ?? 0)] as const
  })
  return new Map(entries)
}

/** The gateway tries new material before it stores any of it, so a refusal leaves the old one. */
async function keepingOld<T>(name: string, update: () => Promise<T>): Promise<T> {
  try {
    return await update()
  } catch (error) {
    if (!(error instanceof AppError) || !REFUSED_UNCHANGED.includes(error.code)) throw error
    const kept = `Nothing was changed: "${name}" goes on with its old key and configuration`
    const hint = error.hint === '' ? kept : `${error.hint}. ${kept}`
    throw new AppError(error.code, error.message, { hint, cause: error })
  }
}

function reveal(credentials: ReadonlyMap<string, Secret>): Record<string, string> {
  return Object.fromEntries([...credentials].map(([key, secret]) => [key, secret.reveal()]))
}

/** Says how long the first token lives, or why there is none yet. */
function reportMint(terminal: Terminal, { mint }: ProviderResponse): void {
  if (mint === undefined) return
  const expiresAtMs = instantOf(mint.expiresAtMs)
  if (expiresAtMs !== null) {
    printLine(terminal, `  token valid until ${formatInstant(terminal, expiresAtMs)}`)
  }
  if (mint.warning !== '') {
    noteLine(terminal, `${paint(terminal.err, 'yellow', 'warning:')} ${printable(mint.warning)}`)
  }
}
