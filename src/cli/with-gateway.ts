import type { Command } from 'commander'
import type { Context } from './command.ts'
import type { Gateway } from './gateway-call.ts'
import { isExposed, readSettings } from './settings.ts'
import { noteLine } from './terminal.ts'

/** Connects as the command's flags say, does the work, and closes. The wire is loaded here. */
export async function withGateway<T>(
  command: Command,
  context: Context,
  work: (gateway: Gateway) => Promise<T>,
): Promise<T> {
  const { terminal } = context
  const settings = readSettings(command, terminal)
  if (isExposed(settings)) {
    noteLine(terminal, `warning: the admin token goes unencrypted to ${settings.endpoint.host}`)
  }
  const { connectGateway } = await import('./connection.ts')
  const gateway = connectGateway(settings, terminal)
  try {
    return await work(gateway)
  } finally {
    gateway.close()
  }
}
