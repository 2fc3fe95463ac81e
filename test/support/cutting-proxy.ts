import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A wire to a server that can be cut, slowed, or go dead without a word. */
export interface CuttingProxy extends AsyncDisposable {
  readonly port: number
  /** The same URL, by way of this wire. */
  through(url: string): string
  /** Everything goes through, for connections that are made from now on. */
  pass(): void
  /** No connection can be made any more; those that stand are cut. */
  refuse(): void
  /** Nothing goes through in either direction, and nobody is told: not to those that stand, nor to new ones. */
  silence(): void
  /** Ends what stands, without a farewell of the server's. */
  cut(): void
  /** What stands goes dead without a word; new connections go through. */
  halfOpen(): void
  /** Each piece comes so much later, in both directions. */
  delay(ms: number): void
  /** How many connections stand. */
  readonly connections: number
}

interface Wire {
  readonly near: Socket
  readonly far: Socket | null
  isDead: boolean
}

/** Opens a wire to a server on this machine; it passes everything at first. */
export async function openCuttingProxy(serverPort: number): Promise<CuttingProxy> {
  const wires = new Set<Wire>()
  let mood: 'passing' | 'refusing' | 'silent' = 'passing'
  let delayMs = 0

  const join = (wire: Wire, from: Socket, to: Socket): void => {
    from.on('data', piece => {
      if (wire.isDead) return
      if (delayMs === 0) to.write(piece)
      // Timers of one span fire in the order in which they were set.
      else setTimeout(() => !wire.isDead && to.write(piece), delayMs)
    })
    from.on('close', () => {
      // The end of one side of a dead wire is not told to the other.
      if (!wire.isDead) to.destroy()
    })
    from.on('error', () => undefined)
  }

  const listener = createServer(near => {
    near.on('error', () => undefined)
    if (mood === 'refusing') {
      near.destroy()
      return
    }
    const far = mood === 'silent' ? null : connect(serverPort, '127.0.0.1')
    const wire: Wire = { near, far, isDead: mood === 'silent' }
    wires.add(wire)
    near.on('close', () => {
      wires.delete(wire)
      far?.destroy()
    })
    if (far === null) near.resume()
    else {
      join(wire, near, far)
      join(wire, far, near)
    }
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  if (address === null || typeof address === 'string') throw new Error('A port has an address')
  const { port } = address

  const cut = (): void => {
    for (const { near, far } of wires) {
      far?.destroy()
      near.destroy()
    }
  }
  const halfOpen = (): void => {
    for (const wire of wires) wire.isDead = true
  }
  return {
    port,
    ...{ cut, halfOpen },
    through(url) {
      const changed = new URL(url)
      changed.host = `127.0.0.1:${port}`
      return changed.href
    },
    pass() {
      mood = 'passing'
    },
    refuse() {
      mood = 'refusing'
      cut()
    },
    silence() {
      mood = 'silent'
      halfOpen()
    },
    delay(ms) {
      delayMs = ms
    },
    get connections() {
      return wires.size
    },
    async [Symbol.asyncDispose]() {
      cut()
      await new Promise(resolve => listener.close(resolve))
    },
  }
}
