import type { Command } from 'commander'
import type { ProviderProfile } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { type Context, define, outputFlag, outputOf } from './command.ts'
import type { Gateway } from './gateway-call.ts'
import { formatTable, printAnswer } from './output.ts'
import { printable, printLine } from './terminal.ts'
import { withGateway } from './with-gateway.ts'

const PROFILES_MAX = 1_000

/** `openshell provider list-profiles`: the vendors that the gateway knows. */
export function declareProfiles(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'List the provider types with the credentials and settings that each takes.',
    example: 'openshell provider list-profiles',
    flags: [outputFlag()],
    run: async () => {
      const format = outputOf(command)
      const profiles = await withGateway(command, context, listProfiles)
      await printAnswer(terminal, format, {
        value: profiles.map(describeProfile),
        table: () => {
          const rows = profiles.map(profile => [
            profile.id,
            profile.aliases.join(', '),
            profile.credentials.map(one => markRequired(one.name, one.required)).join(', '),
            profile.config.map(one => markRequired(one.name, one.required)).join(', '),
          ])
          const headings = ['TYPE', 'ALIASES', 'CREDENTIALS', 'CONFIG']
          for (const line of formatTable(headings, rows)) printLine(terminal, line)
          const examples = profiles.map(one => one.example).filter(one => one !== '')
          if (examples.length > 0) printLine(terminal, '\n* required. Examples:')
          for (const example of examples) {
            for (const line of example.split('\n')) printLine(terminal, `  ${printable(line)}`)
          }
        },
      })
    },
  })
}

async function listProfiles(gateway: Gateway): Promise<readonly ProviderProfile[]> {
  const { profiles } = await gateway.call(gateway.openshell.listProviderProfiles, {
    limit: PROFILES_MAX,
    workspace: gateway.workspace,
  })
  return profiles
}

function markRequired(name: string, isRequired: boolean): string {
  return isRequired ? `${name}*` : name
}

function describeProfile(profile: ProviderProfile): Readonly<Record<string, unknown>> {
  return {
    id: profile.id,
    display_name: profile.displayName,
    description: profile.description,
    aliases: profile.aliases,
    inference_capable: profile.inferenceCapable,
    credentials: profile.credentials.map(one => ({
      name: one.name,
      description: one.description,
      env_vars: one.envVars,
      required: one.required,
    })),
    config: profile.config.map(one => ({
      name: one.name,
      description: one.description,
      required: one.required,
    })),
    example: profile.example,
  }
}
