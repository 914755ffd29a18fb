// The pool alone: undici as a whole brings fetch, WebSocket and more along, which would cost the server 14 MB and the first
// request 100 ms.
declare module 'undici/lib/dispatcher/pool.js' {
  import type { Pool } from 'undici';
  const pool: typeof Pool;
  export default pool;
}
