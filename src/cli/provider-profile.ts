import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import type { Command, Option } from 'commander'
import { AppError } from '../core/errors.ts'
import type {
  ProviderProfile,
  ProviderProfileDiagnostic,
} from '../wire/gen/openshell/v1/profile_pb.ts'
import { profileFromDocument, profileToDocument } from '../wire/profile.ts'
import { type Context, define, defineGroup, flag, outputFlag, outputOf } from './command.ts'
import { EXIT } from './exit.ts'
import { printAnswer } from './output.ts'
import { globalFlag, readProfile, scopeOf } from './provider-profiles.ts'
import { noteLine, printable, printDone, type Terminal } from './terminal.ts'
import { UsageCheck } from './usage.ts'
import { withGateway } from './with-gateway.ts'

/** A file larger than this describes no provider type. */
const FILE_BYTES_MAX = 262_144

/** `openshell provider profile`: provider types that people describe. */
export function declareProfile(group: Command, context: Context): void {
  defineGroup(group, 'Describe provider types of your own, which the gateway then knows.')
  declareExport(group.command('export <id>'), context)
  declareImport(group.command('import'), context)
  declareUpdate(group.command('update <id>'), context)
  declareLint(group.command('lint'), context)
  declareDelete(group.command('delete <id>'), context)
}

/** A profile that was read from a file. */
interface Item {
  readonly profile: ProviderProfile
  /** The file. */
  readonly source: string
}

function declareExport(command: Command, context: Context): void {
  define(command, {
    sentence: 'Write a profile as YAML, to be changed and imported or updated.',
    example: 'openshell provider profile export github -o yaml > mine.yaml',
    flags: [outputFlag().default('yaml'), globalFlag()],
    run: async () => {
      const format = outputOf(command)
      const [id = ''] = command.args
      const profile = await withGateway(command, context, gateway =>
        readProfile(gateway, id, scopeOf(command, gateway)),
      )
      const value = profileToDocument({ ...profile, aliases: [], config: [], example: '' })
      await printAnswer(context.terminal, format === 'table' ? 'yaml' : format, {
        value,
        table: () => {},
      })
    },
  })
}

function declareImport(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Import profiles: all of them, or none when something is wrong with one.',
    example: 'openshell provider profile import -f acme.yaml',
    flags: [...sourceFlags(), globalFlag()],
    run: async () => {
      const profiles = await readItems(command, terminal)
      const answer = await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.importProviderProfiles, {
          profiles: [...profiles],
          workspace: scopeOf(command, gateway),
        }),
      )
      if (!answer.imported) return complain(context, answer.diagnostics)
      for (const { id } of answer.profiles) printDone(terminal, printable(`Imported profile ${id}`))
    },
  })
}

function declareUpdate(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Replace a profile by a changed one; its resource_version must still be the same.',
    example: 'openshell provider profile update acme -f acme.yaml',
    flags: [fileFlag(), globalFlag()],
    run: async () => {
      const [id = ''] = command.args
      const [profile] = await readItems(command, terminal)
      const answer = await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.updateProviderProfiles, {
          ...(profile === undefined ? {} : { profile }),
          id,
          expectedResourceVersion: profile?.profile.resourceVersion ?? 0n,
          workspace: scopeOf(command, gateway),
        }),
      )
      if (!answer.updated) return complain(context, answer.diagnostics)
      printDone(terminal, printable(`Updated profile ${id}`))
    },
  })
}

function declareLint(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Say everything that is wrong with profiles, and import none.',
    example: 'openshell provider profile lint --from profiles/',
    flags: [...sourceFlags(), globalFlag()],
    run: async () => {
      const profiles = await readItems(command, terminal)
      const answer = await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.lintProviderProfiles, {
          profiles: [...profiles],
          workspace: scopeOf(command, gateway),
        }),
      )
      if (!answer.valid) return complain(context, answer.diagnostics)
      printDone(terminal, `${profiles.length} profile${profiles.length === 1 ? '' : 's'} valid`)
    },
  })
}

function declareDelete(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Delete a profile that no provider is of.',
    example: 'openshell provider profile delete acme',
    flags: [globalFlag()],
    run: async () => {
      const [id = ''] = command.args
      const { deleted } = await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.deleteProviderProfile, {
          id,
          workspace: scopeOf(command, gateway),
        }),
      )
      if (deleted) return printDone(terminal, printable(`Deleted profile ${id}`))
      noteLine(terminal, printable(`! Profile ${id} not found`))
      context.exitWith(EXIT.failed)
    },
  })
}

function fileFlag(): Option {
  return flag('-f, --file <path>', 'a profile, YAML or JSON')
}

function sourceFlags(): readonly Option[] {
  return [fileFlag(), flag('--from <folder>', 'all profiles in a folder')]
}

async function readItems(command: Command, terminal: Terminal): Promise<readonly Item[]> {
  const { file, from } = command.opts<{ file?: string; from?: string }>()
  const check = new UsageCheck()
  if ((file === undefined) === (from === undefined)) {
    check.add(command.name() === 'update' ? '--file is required' : 'give --file or --from')
  }
  const files = from === undefined ? [file ?? ''] : check.attempt(() => filesIn(from), [])
  check.finish()
  const { parse } = await import('yaml')
  return files.map(source => {
    try {
      return { profile: profileFromDocument(parse(readText(source))), source }
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'it cannot be read'
      noteLine(terminal, printable(`${source}: ${reason}`))
      throw new AppError('invalid_usage', `Cannot read the profile in "${source}"`)
    }
  })
}

function filesIn(folder: string): readonly string[] {
  const files = readNames(folder).filter(name => /\.(ya?ml|json)$/i.test(name))
  if (files.length > 0) return files.map(name => path.join(folder, name))
  throw new AppError('invalid_usage', `There is no .yaml or .json file in "${folder}"`)
}

function readNames(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort()
  } catch {
    throw new AppError('invalid_usage', `Cannot read the folder "${folder}"`)
  }
}

function readText(file: string): string {
  if (statSync(file).size > FILE_BYTES_MAX) {
    throw new AppError('invalid_usage', `It is larger than ${FILE_BYTES_MAX} bytes`)
  }
  return readFileSync(file, 'utf8')
}

/** All that is wrong, one thing a line. */
function complain(context: Context, diagnostics: readonly ProviderProfileDiagnostic[]): void {
  for (const { source, profileId, field, message, severity } of diagnostics) {
    const place = [source, profileId, field].filter(text => text !== '').join(': ')
    noteLine(context.terminal, printable(`${severity}: ${place}: ${message}`))
  }
  context.exitWith(EXIT.failed)
}
