import type { Command } from 'commander'
import { type Context, define, defineGroup, outputFlag, outputOf } from './command.ts'
import { printAnswer, printBlock } from './output.ts'
import { readStorePlace, type StorePlaceFlags, storePlaceFlags } from './store-place.ts'
import { formatInstant, rfc3339 } from './time.ts'
import { UsageCheck } from './usage.ts'

/** `openshell store`: the database as a whole. It is opened directly, not through a gateway. */
export function declareStore(group: Command, context: Context): void {
  defineGroup(group, 'Look at the database of the gateway as a whole.')
  declareStatus(group.command('status'), context)
}

function declareStatus(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Say which schema the database has, which master key seals it, and who works on it.',
    example: 'openshell store status --store sqlite:/var/lib/openshell/gateway.db',
    flags: [...storePlaceFlags(), outputFlag()],
    run: async () => {
      const format = outputOf(command)
      const check = new UsageCheck()
      const place = readStorePlace(command.opts<StorePlaceFlags>(), terminal, check)
      check.finish()
      const { readStoreStatus } = await import('../gateway/operations/main.ts')
      const status = await readStoreStatus(place)
      await printAnswer(terminal, format, {
        value: {
          location: status.location,
          schema: status.schema,
          master_key: status.masterKey,
          leaving_master_keys: status.leavingMasterKeys,
          envelopes_to_rewrap: status.envelopesToRewrap,
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
