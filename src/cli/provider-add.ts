import type { Command } from 'commander'
import type { Secret } from '../core/secret.ts'
import type { ProviderResponse } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { type CredentialOptions, credentialFlags, readProviderInput } from './assignment.ts'
import { type Context, define, flag } from './command.ts'
import { noteLine, paint, printable, printDone, printLine, type Terminal } from './terminal.ts'
import { formatInstant, instantOf } from './time.ts'
import { UsageCheck } from './usage.ts'
import { withGateway } from './with-gateway.ts'

/** The gateway answers when the first token is minted or refused, which takes the vendor's time. */
const MINT_TIMEOUT_MS = 60_000

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
      ...credentialFlags(),
    ],
    run: async () => {
      const options = command.opts<CredentialOptions & { name?: string; type?: string }>()
      const check = new UsageCheck()
      const name = check.required('--name', options.name)
      const type = check.required('--type', options.type)
      const input = readProviderInput(options, terminal, { check, mayBeEmpty: false })
      check.finish()
      const answer = await withGateway(command, context, gateway =>
        gateway.call(
          gateway.openshell.createProvider,
          {
            provider: {
              metadata: { name, workspace: gateway.workspace },
              type,
              credentials: reveal(input.credentials),
              config: Object.fromEntries(input.config),
            },
            workspace: gateway.workspace,
            noVerify: !options.verify,
          },
          { timeoutMs: MINT_TIMEOUT_MS },
        ),
      )
      printDone(terminal, `Created provider ${name} (${answer.provider?.type ?? type})`)
      reportMint(terminal, answer)
    },
  })
}

/** `openshell provider update`. */
export function declareUpdate(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Change a provider: keys given replace those stored, and KEY= takes one away.',
    example:
      'openshell provider update my-vertex --credential-file GOOGLE_SERVICE_ACCOUNT_JSON=new.json',
    flags: credentialFlags(),
    run: async () => {
      const [name = ''] = command.args
      const options = command.opts<CredentialOptions>()
      const check = new UsageCheck()
      const input = readProviderInput(options, terminal, { check, mayBeEmpty: true })
      if (input.credentials.size + input.config.size === 0) {
        check.add('there is nothing to change: give --credential, --credential-file or --config')
      }
      check.finish()
      const answer = await withGateway(command, context, gateway =>
        gateway.call(
          gateway.openshell.updateProvider,
          {
            provider: {
              metadata: { name, workspace: gateway.workspace },
              credentials: reveal(input.credentials),
              config: Object.fromEntries(input.config),
            },
            workspace: gateway.workspace,
            noVerify: !options.verify,
          },
          { timeoutMs: MINT_TIMEOUT_MS },
        ),
      )
      printDone(terminal, `Updated provider ${name}`)
      reportMint(terminal, answer)
    },
  })
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
