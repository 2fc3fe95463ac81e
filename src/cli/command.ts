import { type Command, Option } from 'commander'
import type { OutputFormat } from './output.ts'
import { addGlobalOptions } from './settings.ts'
import type { Terminal } from './terminal.ts'
import { UsageCheck } from './usage.ts'

/** What a command is run with. */
export interface Context {
  readonly terminal: Terminal
  readonly version: string
  /** Ends the program with this code after the command has returned; the default is 0. */
  exitWith(code: number): void
  /** The tree with the commands of every group in it. */
  wholeProgram(): Promise<Command>
}

/** What a command is, besides its name and operands. */
export interface CommandSpec {
  /** One sentence that says what the command does. */
  readonly sentence: string
  /** A command line that can be pasted. */
  readonly example: string
  readonly flags: readonly Option[]
  /** Operands are in `command.args`, flags in `command.opts()`. */
  readonly run: (command: Command) => Promise<void>
}

/** Fills a command with what its spec says and with the flags that every command takes. */
export function define(command: Command, spec: CommandSpec): Command {
  command.description(spec.sentence)
  for (const flag of spec.flags) command.addOption(flag)
  addGlobalOptions(command.optionsGroup('Global options:'))
  return command
    .addHelpText('after', `\nExample:\n  ${spec.example.replaceAll('\n', '\n  ')}`)
    .showHelpAfterError(`hint: "${pathOf(command)} --help" shows how`)
    .action(() => spec.run(command))
}

/** Makes a command the root of a group. */
export function defineGroup(command: Command, sentence: string): Command {
  return command
    .description(sentence)
    .helpCommand(false)
    .showHelpAfterError(`hint: "${pathOf(command)} --help" lists the commands`)
}

/** A flag, or a flag with a value. */
export function flag(flags: string, description: string): Option {
  return new Option(flags, description)
}

/** A flag with a value that may be given many times; its value is a list, or absent. */
export function repeatedFlag(flags: string, description: string): Option {
  return new Option(flags, description).argParser(
    (text: string, earlier: readonly string[] | undefined) => [...(earlier ?? []), text],
  )
}

/** `-o table|json|yaml`. */
export function outputFlag(): Option {
  return new Option('-o, --output <format>', 'table, json or yaml').default('table')
}

/** What `-o` says; throws `invalid_usage` when it is no format. */
export function outputOf(command: Command): OutputFormat {
  const check = new UsageCheck()
  const format = check.outputFormat(command.opts<{ output: string }>().output)
  check.finish()
  return format
}

/** How a command is called: `openshell provider add`. */
export function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`
}
