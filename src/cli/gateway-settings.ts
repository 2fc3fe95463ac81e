import type { Command } from 'commander'
import { AppError } from '../core/errors.ts'
import type { SettingValue } from '../wire/gen/openshell/sandbox/v1/sandbox_pb.ts'
import { type Context, define, defineGroup, flag, outputFlag, outputOf } from './command.ts'
import { formatTable, printAnswer } from './output.ts'
import { printDone, printLine } from './terminal.ts'
import { UsageCheck } from './usage.ts'
import { withGateway } from './with-gateway.ts'

const UNSET = '<unset>'

interface SettingOptions {
  readonly global?: boolean
  readonly key?: string
  readonly value?: string
}

/** `openshell settings`: what OpenShell's supervisors are told, for all sandboxes or for one. */
export function declareSettings(group: Command, context: Context): void {
  defineGroup(group, 'Change the settings that supervisors of OpenShell run by.')
  declareGet(group.command('get'), context)
  declareSet(group.command('set [sandbox]'), context)
  declareDelete(group.command('delete [sandbox]'), context)
}

function declareGet(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Show the settings that hold for all sandboxes.',
    example: 'openshell settings get --global',
    flags: [globalFlag(), outputFlag()],
    run: async () => {
      const format = outputOf(command)
      const answer = await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.getGatewayConfig, {}),
      )
      const rows = Object.entries(answer.settings)
        .map(([key, setting]) => [key, plainValue(setting)] as const)
        .sort(([one], [other]) => (one < other ? -1 : 1))
      await printAnswer(terminal, format, {
        value: {
          settings: Object.fromEntries(rows),
          settings_revision: Number(answer.settingsRevision),
        },
        table: () => {
          const shown = rows.map(([key, value]) => [key, value === null ? UNSET : String(value)])
          for (const line of formatTable(['KEY', 'VALUE'], shown)) printLine(terminal, line)
        },
      })
    },
  })
}

function declareSet(command: Command, context: Context): void {
  define(command, {
    sentence: 'Set a setting for all sandboxes, or for one.',
    example: 'openshell settings set --global --key ocsf_json_enabled --value true',
    flags: [globalFlag(), keyFlag(), flag('--value <value>', 'true, false or a word')],
    run: async () => {
      const { value } = command.opts<SettingOptions>()
      const check = new UsageCheck()
      const place = readPlace(command, check)
      const text = check.required('--value', value)
      check.finish()
      await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.updateConfig, {
          ...{ ...place, workspace: gateway.workspace },
          settingValue: {
            value:
              text === 'true' || text === 'false'
                ? { case: 'boolValue', value: text === 'true' }
                : { case: 'stringValue', value: text },
          },
        }),
      )
      printDone(context.terminal, `Set ${place.settingKey} = ${text}`)
    },
  })
}

function declareDelete(command: Command, context: Context): void {
  define(command, {
    sentence: 'Delete a setting of all sandboxes, or of one.',
    example: 'openshell settings delete --global --key ocsf_json_enabled',
    flags: [globalFlag(), keyFlag()],
    run: async () => {
      const check = new UsageCheck()
      const place = readPlace(command, check)
      check.finish()
      const { deleted } = await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.updateConfig, {
          ...{ ...place, workspace: gateway.workspace, deleteSetting: true },
        }),
      )
      if (deleted) printDone(context.terminal, `Deleted ${place.settingKey}`)
      else printLine(context.terminal, `Setting ${place.settingKey} was not set.`)
    },
  })
}

/** Whom the setting is for: all, or the sandbox that is named. */
function readPlace(command: Command, check: UsageCheck) {
  const { key, global: isGlobal = false } = command.opts<SettingOptions>()
  const [name = ''] = command.args
  if (isGlobal === (name !== '')) check.add('give either --global or a sandbox')
  return { global: isGlobal, name, settingKey: check.required('--key', key) }
}

/** null for a setting without a value. */
function plainValue({ value }: SettingValue): string | boolean | number | null {
  switch (value.case) {
    case undefined:
      return null
    case 'boolValue':
    case 'stringValue':
      return value.value
    case 'intValue':
      return Number(value.value)
    default:
      throw new AppError('internal', `The gateway answered with a setting of kind ${value.case}`)
  }
}

function globalFlag() {
  return flag('--global', 'for all sandboxes')
}

function keyFlag() {
  return flag('--key <key>', 'the setting')
}
