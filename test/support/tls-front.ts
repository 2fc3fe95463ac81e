import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** What a client of PostgreSQL's sends to ask for TLS. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

/** A PostgreSQL's own side of TLS, before a server that has none. */
export async function openTlsFront(
  serverPort: number,
  certificate: { readonly certPem: string; readonly keyPem: string },
): Promise<{ readonly port: number; close(): void }> {
  const sockets = new Set<Socket>()
  const listener = createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('data', first => {
      if (!first.equals(SSL_REQUEST)) {
        socket.destroy()
        return
      }
      socket.pause()
      socket.write('S')
      const { certPem, keyPem } = certificate
      const secure = new TLSSocket(socket, { isServer: true, cert: certPem, key: keyPem })
      const far = connect(serverPort, '127.0.0.1')
      sockets.add(far)
      secure.on('error', () => far.destroy())
      far.on('error', () => secure.destroy())
      secure.pipe(far).pipe(secure)
    })
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  if (address === null || typeof address === 'string') throw new Error('A port has an address')
  return {
    port: address.port,
    close() {
      for (const socket of sockets) socket.destroy()
      listener.close()
    },
  }
}
