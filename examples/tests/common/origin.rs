//! A web server of plain files, with the habits of good ones and of others.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// How it answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Habit {
    /// With the range that was asked for.
    Good,
    /// With other bytes.
    Lies,
    /// With all of the file, whatever was asked for.
    All,
    /// With a redirection.
    Elsewhere,
}

/// Serves the files of a directory until it is dropped with the process.
pub struct WebServer {
    pub addr: SocketAddr,
    habit: Arc<Mutex<Habit>>,
    /// Bytes of files sent.
    sent: Arc<AtomicU64>,
}

impl WebServer {
    pub fn of(directory: &Path, habit: Habit) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (habit, sent) = (Arc::new(Mutex::new(habit)), Arc::new(AtomicU64::new(0)));
        let served = (directory.to_owned(), Arc::clone(&habit), Arc::clone(&sent));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (directory, habit, sent) = served.clone();
                thread::spawn(move || answer(&stream, &directory, &habit, &sent));
            }
        });
        Self { addr, habit, sent }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    pub fn becomes(&self, habit: Habit) {
        *self.habit.lock().unwrap() = habit;
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

fn answer(mut stream: &TcpStream, directory: &Path, habit: &Mutex<Habit>, sent: &AtomicU64) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    loop {
        let path = lines.next()?.split(' ').nth(1)?.trim_start_matches('/').to_owned();
        let mut range = None;
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            if let Some(value) = line.to_lowercase().strip_prefix("range: bytes=") {
                let (first, last) = value.split_once('-')?;
                range = Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?));
            }
        }
        let file: PathBuf = directory.join(path.replace("%20", " "));
        let habit = *habit.lock().unwrap();
        let mut say = |head: &str, body: &[u8]| {
            let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok()
        };
        match (fs::read(file), range, habit) {
            (Err(_), ..) => say("404 Not Found", b"no such file")?,
            (_, _, Habit::Elsewhere) => say("302 Found\r\nLocation: http://127.0.0.1:1/", b"")?,
            (Ok(bytes), Some((first, last)), Habit::Good | Habit::Lies) if first < bytes.len() => {
                let last = last.min(bytes.len() - 1);
                let mut part = bytes[first..=last].to_vec();
                if habit == Habit::Lies {
                    part[0] ^= 1;
                }
                sent.fetch_add(part.len() as u64, Ordering::Relaxed);
                say(&format!("206 Partial Content\r\nContent-Range: bytes {first}-{last}/{}", bytes.len()), &part)?;
            }
            (Ok(bytes), ..) => say("200 OK", &bytes)?,
        }
    }
}
