// OpenSSL's libcrypto, called directly. This is the only file of the package that knows the FFI package. Pointers are declared as
// integers and given as addresses of byte arrays, so that nothing is marshalled.
import { createRequire } from 'node:module'
import type { LibraryHandle } from 'koffi'

/** Functions of OpenSSL 3 by their C names; pointers are addresses. See EVP_EncryptInit(3). */
export interface Libcrypto {
  /** Where the functions were found. */
  readonly origin: (typeof origins)[number]
  contextNew(): number
  contextFree(context: number): void
  cipherInit(context: number, cipher: number, engine: 0, key: number, iv: number, encrypts: 0 | 1 | -1): number
  /** With parameters, an array of OSSL_PARAM. */
  cipherInitWith(context: number, cipher: number, key: number, iv: number, encrypts: 0 | 1 | -1, params: number): number
  control(context: number, command: number, size: number, pointer: number): number
  setParams(context: number, params: number): number
  getParams(context: number, params: number): number
  cipher(context: number, output: number, input: number, length: number): number
  cipherUpdate(context: number, output: number, outputLength: number, input: number, length: number): number
  cipherFinal(context: number, output: number, outputLength: number): number
  clearErrors(): void
  /** The cipher of a name such as `AES-128-GCM`; 0 if there is none. It lives as long as the process. */
  cipherOf(name: string): number
  /** Where the bytes of a buffer are. They never move while the buffer is referenced and not transferred. */
  addressOf(buffer: ArrayBuffer): number
}

type Ffi = typeof import('koffi')

/** Where to look, in this order: the libcrypto inside the node executable, then the system's, if that one has no symbols. */
const origins = ['node', 'libcrypto.so.3'] as const

/**
 * The first libcrypto among `places` that has every function.
 * @throws Error saying what is missing: the FFI package, a build of it for this system, a library, or a function
 */
export function loadLibcrypto(places: readonly Libcrypto['origin'][] = origins): Libcrypto {
  // Addresses of 64-bit Linux and macOS are below 2^47, so numbers hold them; 32-bit systems are left out.
  if (!['x64', 'arm64'].includes(process.arch)) throw new Error(`not on ${process.arch}`)
  const ffi = createRequire(import.meta.url)('koffi') as Ffi
  const failures: string[] = []
  for (const place of places) {
    try {
      if (place === 'node') return bind(ffi, ffi.load(null), place)
      const library = ffi.load(place)
      refuseOtherVersion(library)
      return bind(ffi, library, place)
    } catch (cause) {
      failures.push(`${place}: ${(cause as Error).message}`)
    }
  }
  throw new Error(failures.join('; '))
}

/**
 * A second libcrypto beside that of the node executable may take some of its functions from there, and only one of the same
 * version survives that. Where node is linked to the system's, it is the same one.
 */
function refuseOtherVersion(library: LibraryHandle): void {
  const number = Number(library.func('OpenSSL_version_num', 'uint64_t', [])())
  const version = `${Math.floor(number / 2 ** 28)}.${Math.floor(number / 2 ** 20) % 256}`
  const own = process.versions.openssl ?? 'none'
  if (!own.startsWith(`${version}.`)) throw new Error(`it is OpenSSL ${version}, node has ${own}`)
}

function bind(ffi: Ffi, library: LibraryHandle, origin: Libcrypto['origin']): Libcrypto {
  const address = 'int64_t'
  const contextNew = library.func('EVP_CIPHER_CTX_new', address, [])
  const fetch = library.func('EVP_CIPHER_fetch', address, [address, 'str', address])
  return {
    origin,
    contextNew: () => Number(contextNew()),
    contextFree: library.func('EVP_CIPHER_CTX_free', 'void', [address]),
    cipherInit: library.func('EVP_CipherInit_ex', 'int', [address, address, address, address, address, 'int']),
    cipherInitWith: library.func('EVP_CipherInit_ex2', 'int', [address, address, address, address, 'int', address]),
    control: library.func('EVP_CIPHER_CTX_ctrl', 'int', [address, 'int', 'int', address]),
    getParams: library.func('EVP_CIPHER_CTX_get_params', 'int', [address, address]),
    setParams: library.func('EVP_CIPHER_CTX_set_params', 'int', [address, address]),
    cipher: library.func('EVP_Cipher', 'int', [address, address, address, 'uint32_t']),
    cipherUpdate: library.func('EVP_CipherUpdate', 'int', [address, address, address, address, 'int']),
    cipherFinal: library.func('EVP_CipherFinal_ex', 'int', [address, address, address]),
    clearErrors: library.func('ERR_clear_error', 'void', []),
    cipherOf: name => Number(fetch(0, name, 0)),
    addressOf: buffer => Number(ffi.address(buffer)),
  }
}
