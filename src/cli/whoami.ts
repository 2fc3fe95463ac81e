import type { Command } from 'commander'
import { type Context, define, outputFlag, outputOf } from './command.ts'
import { printAnswer, printBlock } from './output.ts'
import { withGateway } from './with-gateway.ts'

/** `openshell whoami`: as whom the gateway sees this command line. */
export function declareWhoami(command: Command, context: Context): void {
  define(command, {
    sentence: 'Say as whom the gateway sees you, and what you may do.',
    example: 'openshell whoami -o json',
    flags: [outputFlag()],
    run: async () => {
      const format = outputOf(command)
      const user = await withGateway(command, context, gateway =>
        gateway.call(gateway.openshell.getCurrentUser, {}),
      )
      const { subject, displayName, roles, scopes, identityProvider } = user
      await printAnswer(context.terminal, format, {
        value: {
          ...{ subject, display_name: displayName, roles, scopes },
          identity_provider: identityProvider,
        },
        table: () =>
          printBlock(context.terminal, 'Current User', [
            ['Subject', subject],
            ...(displayName === '' ? [] : [['Name', displayName] as const]),
            ['Roles', roles.join(', ')],
            ['Scopes', scopes.join(', ')],
            ['Identity provider', identityProvider],
          ]),
      })
    },
  })
}
