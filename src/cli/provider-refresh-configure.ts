import type { Command } from 'commander'
import { ProviderCredentialRefreshStrategy as Strategy } from '../wire/gen/openshell/v1/refresh_pb.ts'
import { readMaterial } from './assignment.ts'
import { type Context, define, flag, repeatedFlag } from './command.ts'
import { printable, printDone } from './terminal.ts'
import { parseInstant } from './time.ts'
import { UsageCheck } from './usage.ts'
import { withGateway } from './with-gateway.ts'

const STRATEGIES: Readonly<Record<string, Strategy>> = {
  'oauth2-refresh-token': Strategy.OAUTH2_REFRESH_TOKEN,
  'oauth2-client-credentials': Strategy.OAUTH2_CLIENT_CREDENTIALS,
  'google-service-account-jwt': Strategy.GOOGLE_SERVICE_ACCOUNT_JWT,
  'aws-sts-assume-role': Strategy.AWS_STS_ASSUME_ROLE,
}

interface ConfigureOptions {
  readonly credentialKey?: string
  readonly strategy?: string
  readonly material?: readonly string[]
  readonly secretMaterialEnv?: readonly string[]
  readonly secretMaterialFile?: readonly string[]
  readonly secretMaterialKey?: readonly string[]
  readonly credentialExpiresAt?: string
}

/** `openshell provider refresh configure`. */
export function declareConfigure(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Say how a credential is refreshed; the first token is minted at once.',
    example:
      'openshell provider refresh configure my-api --credential-key API_TOKEN \\\n' +
      '  --strategy oauth2-client-credentials --material client_id=ID \\\n' +
      '  --secret-material-env client_secret=CLIENT_SECRET',
    flags: [
      flag('--credential-key <key>', 'the credential that is refreshed'),
      flag('--strategy <strategy>', Object.keys(STRATEGIES).join(', ')),
      repeatedFlag('--material <key=value>', 'what the strategy needs and is no secret'),
      repeatedFlag('--secret-material-env <key[=variable]>', 'a secret from the environment'),
      repeatedFlag('--secret-material-file <key=path>', 'a secret that is the content of a file'),
      repeatedFlag('--secret-material-key <key>', 'a material that is a secret, however given'),
      flag('--credential-expires-at <instant>', 'when the standing token ends: RFC 3339 or ms'),
    ],
    run: async () => {
      const [provider = ''] = command.args
      const options = command.opts<ConfigureOptions>()
      const check = new UsageCheck()
      const credentialKey = check.required('--credential-key', options.credentialKey)
      const strategy = readStrategy(check, options.strategy)
      const { material, secrets } = readMaterial(options, terminal, check)
      const expiresAtMs = parseInstant(
        check,
        '--credential-expires-at',
        options.credentialExpiresAt,
      )
      check.finish()
      await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.configureProviderRefresh, {
          ...{ provider, credentialKey, strategy, workspace: gateway.workspace },
          material: Object.fromEntries([...material].map(([name, one]) => [name, one.reveal()])),
          secretMaterialKeys: [...secrets],
          ...(expiresAtMs === null ? {} : { expiresAtMs: BigInt(expiresAtMs) }),
        }),
      )
      printDone(terminal, printable(`Configured refresh for ${provider} ${credentialKey}`))
    },
  })
}

function readStrategy(check: UsageCheck, text: string | undefined): Strategy {
  const name = check.required('--strategy', text).toLowerCase().replaceAll('_', '-')
  const strategy = STRATEGIES[name]
  if (strategy === undefined && name !== '') {
    check.add(`--strategy takes ${Object.keys(STRATEGIES).join(', ')}`)
  }
  return strategy ?? Strategy.UNSPECIFIED
}
