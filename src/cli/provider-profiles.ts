import type { Command, Option } from 'commander'
import { AppError } from '../core/errors.ts'
import type { ProviderProfile } from '../wire/gen/openshell/v1/profile_pb.ts'
import { type Context, define, flag, outputFlag, outputOf } from './command.ts'
import type { Gateway } from './gateway-call.ts'
import { formatTable, printAnswer } from './output.ts'
import { paint, printable, printLine, type Terminal } from './terminal.ts'
import { withGateway } from './with-gateway.ts'

const PROFILES_MAX = 1_000

/** `openshell provider list-profiles`: the vendors that the gateway knows. */
export function declareProfiles(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'List the provider types with the credentials and settings that each takes.',
    example: 'openshell provider list-profiles vertex',
    flags: [outputFlag(), globalFlag()],
    run: async () => {
      const format = outputOf(command)
      const [type = ''] = command.args
      const profiles = await withGateway(command, context, async gateway => {
        const scope = scopeOf(command, gateway)
        return type === ''
          ? listProfiles(gateway, scope)
          : [await readProfile(gateway, type, scope)]
      })
      await printAnswer(terminal, format, {
        value: profiles.map(describeProfile),
        table: () => {
          for (const profile of profiles) printProfile(terminal, profile)
          if (profiles.some(hasRequired)) printLine(terminal, '* required')
        },
      })
    },
  })
}

/** Every provider type that the gateway knows. */
export async function listProfiles(
  gateway: Gateway,
  workspace = gateway.workspace,
): Promise<readonly ProviderProfile[]> {
  const { profiles } = await gateway.call(gateway.openshell.listProviderProfiles, {
    limit: PROFILES_MAX,
    workspace,
  })
  return profiles
}

/** One provider type by its name; throws `not_found`. */
export async function readProfile(
  gateway: Gateway,
  id: string,
  workspace: string,
): Promise<ProviderProfile> {
  const { profile } = await gateway.call(gateway.openshell.getProviderProfile, { id, workspace })
  if (profile !== undefined) return profile
  throw new AppError('not_found', `Provider profile "${id}" does not exist`)
}

/** `--global`, for what all workspaces have. */
export function globalFlag(): Option {
  return flag('--global', 'of all workspaces, instead of this one')
}

/** The workspace whose profiles are meant; '' for those of all workspaces. */
export function scopeOf(command: Command, gateway: Gateway): string {
  return command.opts<{ global?: boolean }>().global === true ? '' : gateway.workspace
}

/** A type as a block: its names, its keys with what each is, and a command to paste. */
function printProfile(terminal: Terminal, profile: ProviderProfile): void {
  const aliases = profile.aliases.length === 0 ? '' : ` (${profile.aliases.join(', ')})`
  const title = paint(terminal.out, 'bold', printable(profile.id))
  printLine(terminal, `${title}${printable(aliases)}: ${printable(profile.description)}`)
  const credentials = profile.credentials.map(one => [
    markRequired(namesOf(one), one.required),
    one.description,
  ])
  const config = profile.config.map(one => [markRequired(one.name, one.required), one.description])
  const sections = [
    { heading: 'credentials', rows: credentials },
    { heading: 'config', rows: config },
  ]
  for (const { heading, rows } of sections) {
    if (rows.length === 0) continue
    printLine(terminal, `  ${heading}`)
    const [, ...lines] = formatTable(['', ''], rows)
    for (const line of lines) printLine(terminal, `    ${line}`)
  }
  if (profile.example !== '') printLine(terminal, '  example')
  for (const line of profile.example.split('\n')) {
    if (line !== '') printLine(terminal, `    ${printable(line)}`)
  }
  printLine(terminal, '')
}

function hasRequired({ credentials, config }: ProviderProfile): boolean {
  return [...credentials, ...config].some(one => one.required)
}

/** A credential's name with the other names that it goes by. */
function namesOf({ name, envVars }: ProviderProfile['credentials'][number]): string {
  // What a profile calls it is nothing that a person could give a value.
  const [first = name] = envVars.includes(name) ? [name] : envVars
  const others = envVars.filter(one => one !== first)
  return others.length === 0 ? first : `${first} (= ${others.join(', ')})`
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
