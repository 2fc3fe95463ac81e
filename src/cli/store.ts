import type { Command } from 'commander'
import { type Context, define, defineGroup, flag, outputFlag, outputOf } from './command.ts'
import { printAnswer, printBlock } from './output.ts'
import { readStorePlace, type StorePlaceFlags, storePlaceFlags } from './store-place.ts'
import { noteLine, printDone, printLine } from './terminal.ts'
import { formatInstant, rfc3339 } from './time.ts'
import { UsageCheck } from './usage.ts'

/** `openshell store`: the database as a whole. It is opened directly, not through a gateway. */
export function declareStore(group: Command, context: Context): void {
  defineGroup(
    group,
    'Look after the database of the gateway as a whole; it is opened directly, not through a gateway.',
  )
  declareStatus(group.command('status'), context)
  declareExport(group.command('export <file>'), context)
  declareImport(group.command('import <file>'), context)
  declareReopen(group.command('reopen'), context)
}

function declareStatus(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Say which schema the database has, which master key seals it, and who works on it.',
    example: 'openshell store status --store sqlite:/var/lib/openshell/gateway.db',
    flags: [...storePlaceFlags(), outputFlag()],
    run: async () => {
      const format = outputOf(command)
      const place = readPlace(command, context)
      const { readStoreStatus } = await import('../gateway/operations/main.ts')
      const status = await readStoreStatus(place)
      await printAnswer(terminal, format, {
        value: {
          location: status.location,
          schema: status.schema,
          master_key: status.masterKey,
          leaving_master_keys: status.leavingMasterKeys,
          envelopes_to_rewrap: status.envelopesToRewrap,
          moved_at: status.movedAtMs === null ? null : rfc3339(BigInt(status.movedAtMs)),
          gateways: status.gateways.map(one => ({
            id: one.id,
            master_keys: one.masterKeyIds,
            seen_at: rfc3339(BigInt(one.seenAtMs)),
          })),
        },
        table: () => {
          const { leavingMasterKeys, envelopesToRewrap } = status
          printBlock(terminal, 'Store', [
            ['Database', status.location],
            ['Schema', status.schema],
            ['Master key', status.masterKey],
            [
              'Rekey',
              leavingMasterKeys.length === 0
                ? 'none under way'
                : `${envelopesToRewrap} envelopes are still under ${leavingMasterKeys.join(', ')}`,
            ],
            ...(status.movedAtMs === null
              ? []
              : [['Moved away', formatInstant(terminal, status.movedAtMs)] as const]),
            ...status.gateways.map(
              one =>
                [
                  'Gateway',
                  `${one.id}, seen ${formatInstant(terminal, one.seenAtMs)}, holds ${one.masterKeyIds.join(', ')}`,
                ] as const,
            ),
          ])
        },
      })
    },
  })
}

function declareExport(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence:
      'Write everything that the store holds to a file, as of one instant; secrets stay sealed. "-" is standard output.',
    example: 'openshell store export --retire openshell.export',
    flags: [
      ...storePlaceFlags(),
      flag('--retire', 'mark the store as moved away: nothing is minted from it any more'),
    ],
    run: async () => {
      const { retire: isRetired = false } = command.opts<{ readonly retire?: boolean }>()
      const file = fileOf(command)
      const place = readPlace(command, context)
      const { runExport } = await import('../gateway/operations/main.ts')
      const rows = await runExport(place, { file, isRetired })
      noteLine(terminal, `${rows} rows, sealed with the master key of the store`)
      if (isRetired) return
      noteLine(
        terminal,
        'note: gateways on this store go on. Before one starts on a copy, stop them and export with --retire: a refresh token that a vendor rotates would be spent twice',
      )
    },
  })
}

function declareImport(command: Command, context: Context): void {
  define(command, {
    sentence:
      'Read an export into a store, whole or not at all; the store is made when it is new. "-" is standard input.',
    example: 'openshell store import --store sqlite:/var/lib/openshell/gateway.db openshell.export',
    flags: [...storePlaceFlags(), flag('--replace', 'throw away what the store holds')],
    run: async () => {
      const { replace: isReplaced = false } = command.opts<{ readonly replace?: boolean }>()
      const file = fileOf(command)
      const place = readPlace(command, context)
      const { runImport } = await import('../gateway/operations/main.ts')
      const rows = await runImport(place, { file, isReplaced })
      printDone(context.terminal, `${rows} rows are in the store`)
    },
  })
}

function declareReopen(command: Command, context: Context): void {
  define(command, {
    sentence:
      'Take a store up again that was marked as moved away, when nothing was minted from the new one.',
    example: 'openshell store reopen --store sqlite:/var/lib/openshell/gateway.db',
    flags: [...storePlaceFlags()],
    run: async () => {
      const place = readPlace(command, context)
      const { runReopen } = await import('../gateway/operations/main.ts')
      const { terminal } = context
      if (await runReopen(place)) printDone(terminal, 'A gateway may start on the store again')
      else printLine(terminal, 'The store was not marked as moved away')
    },
  })
}

function fileOf(command: Command): string | null {
  const [file = '-'] = command.args
  return file === '-' ? null : file
}

function readPlace(command: Command, { terminal }: Context) {
  const check = new UsageCheck()
  const place = readStorePlace(command.opts<StorePlaceFlags>(), terminal, check)
  check.finish()
  return place
}
