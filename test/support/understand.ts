import { Command } from 'commander'
import type { Context } from '../../src/cli/command.ts'
import { wholeProgram } from '../../src/cli/command-line.ts'
import { addGlobalOptions } from '../../src/cli/settings.ts'
import { silentLog } from '../../src/system/log.ts'

/** The whole command line with every group loaded, on a terminal that shows nothing. */
export function describedProgram(): Promise<Command> {
  const silent = { isTerminal: false, hasColor: false, write() {} }
  const context: Context = {
    terminal: {
      env: {},
      out: silent,
      err: silent,
      timeZone: 'UTC',
      clock: { nowMs: () => 0, sleep: async () => {} },
      stopSignal: () => new AbortController().signal,
      openLog: async () => silentLog,
    },
    version: '1.2.3',
    exitWith() {},
    wholeProgram: () => wholeProgram(context),
  }
  return wholeProgram(context)
}

/** The commands that can be run. */
export function leavesOf(command: Command): readonly Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf)
}

/**
 * Lets the real command line read the words of a command, without the program's name; nothing is run.
 * Rejects with what Commander says when it does not understand them.
 */
export async function understand(words: readonly string[]): Promise<void> {
  // In a program of its own, for the real one would load each group once more.
  const program = addGlobalOptions(new Command('openshell')).enablePositionalOptions()
  for (const group of (await describedProgram()).commands) program.addCommand(group)
  for (const leaf of leavesOf(program)) leaf.action(() => {})
  await program.exitOverride().parseAsync([...words], { from: 'user' })
}
