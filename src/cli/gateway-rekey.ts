import type { Command } from 'commander'
import { type Context, define, flag } from './command.ts'
import { readStorePlace, type StorePlaceFlags, storePlaceFlags } from './store-place.ts'
import { noteLine, printDone, printLine } from './terminal.ts'
import { UsageCheck } from './usage.ts'

/** How often progress is told, in envelopes. */
const PROGRESS_STEP = 10_000

/** `openshell gateway rekey`: everything sealed anew, while gateways run. */
export function declareRekey(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence:
      'Seal everything in the database with the last key of the key file, while gateways run; cut off, it goes on where it was.',
    example: 'openshell gateway rekey --make-key',
    flags: [
      ...storePlaceFlags(),
      flag('--make-key', 'make a new key and add it to the key file first'),
    ],
    run: async () => {
      const flags = command.opts<StorePlaceFlags & { readonly makeKey?: boolean }>()
      const check = new UsageCheck()
      const place = readStorePlace(flags, terminal, check)
      check.finish()
      const { runRekey } = await import('../gateway/operations/main.ts')
      let toldAt = 0
      const report = await runRekey({
        ...place,
        isKeyMade: flags.makeKey === true,
        onWait: gateways =>
          noteLine(terminal, `waiting for gateways to read their key file: ${gateways.join(', ')}`),
        onProgress: rewrapped => {
          if (rewrapped < toldAt + PROGRESS_STEP) return
          toldAt = rewrapped
          noteLine(terminal, `${rewrapped} envelopes are under the new key`)
        },
      })
      if (report.outcome === 'current') {
        printLine(terminal, `Everything is sealed with master key ${report.keyId} already`)
        noteLine(
          terminal,
          'hint: add a new key as the last line of the key file, or use --make-key',
        )
        return
      }
      printDone(terminal, `${report.rewrapped} envelopes are under master key ${report.keyId} now`)
      for (const place of report.unreadable) {
        noteLine(terminal, `"${place}" was left as it is: it is damaged, no key opens it`)
      }
      noteLine(
        terminal,
        'The earlier key opens nothing in this database any more, but backups made before',
      )
    },
  })
}
