import { connect } from 'node:net';
const ports = JSON.parse(process.argv[2]!);
async function run(port: number, req: string, ms: number, conns=32) {
  let done=0, stop=false; const t0=performance.now();
  await Promise.all(Array.from({length:conns},()=>new Promise<void>((resolve)=>{ const s=connect(port,'127.0.0.1'); s.setNoDelay(true); let acc='';
    s.on('data',(d)=>{ acc+=d.toString('latin1'); const h=acc.indexOf('\r\n\r\n'); if(h<0) return; const m=/content-length: (\d+)/i.exec(acc); if (acc.length>=h+4+Number(m![1])) { if(!acc.startsWith('HTTP/1.1 200')) {console.log(acc); process.exit(1);} acc=''; done++; if(stop){s.destroy();resolve();} else s.write(req);} });
    s.write(req); setTimeout(()=>{stop=true},ms); })));
  return Math.round(done/((performance.now()-t0)/1000));
}
const get = 'GET /_matrix/client/v3/rooms/!a:b/x199/y?limit=10 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer abcdef\r\n\r\n';
const put = 'PUT /_matrix/client/v3/rooms/!a:b/x198/y HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer abcdef\r\nContent-Length: 36\r\n\r\n{"msgtype":"m.text","body":"hello 1"}'.replace('36','37');
for (let i=0;i<3;i++) for (const [name,port,r] of [['ours GET',ports.ours,get],['ours PUT',ports.ours,put],['koa',ports.koa,get],['node',ports.node,get]] as const) console.log(name, await run(port,r,3000));
