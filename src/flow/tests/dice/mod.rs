//! A generator of packets that are mostly right and then spoiled.

/// Turns entropy into a packet: protocols one on top of the other, lengths mostly right, then spoiled.
pub(crate) struct Dice<'a> {
    pub(crate) entropy: &'a [u8],
    pub(crate) at: usize,
}

impl Dice<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        self.at += 1;
        self.entropy.get(self.at - 1).copied().unwrap_or(0)
    }
    /// True once in `n`.
    fn one_in(&mut self, n: u8) -> bool {
        self.byte() % n == n - 1
    }
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }
    fn fill(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.byte()).collect()
    }

    pub(crate) fn packet(&mut self) -> Vec<u8> {
        let mut p = self.fill(12);
        for _ in 0..self.pick(&[0, 0, 0, 1, 2, 3]) {
            p.extend(self.pick(&[[0x81, 0], [0x88, 0xa8]]));
            p.extend(self.fill(2));
        }
        if self.one_in(6) {
            p.extend([0, 60]);
            p.extend([0xaa, 0xaa, self.pick(&[3, 3, 4]), 0, 0, 0]);
        }
        let t: u16 = self.pick(&[
            0x800, 0x800, 0x800, 0x86dd, 0x86dd, 0x86dd, 0x806, 0x8035, 0x894f, 0x8847, 0x8848,
            0x5dc, 0x88cc,
        ]);
        p.extend(t.to_be_bytes());
        p.extend(self.l3(t));
        self.spoil(&mut p);
        p
    }

    fn l3(&mut self, t: u16) -> Vec<u8> {
        match t {
            0x800 => self.ipv4(),
            0x86dd => self.ipv6(),
            0x806 | 0x8035 => {
                let mut a = vec![0, 1, 8, 0, 6, 4, self.pick(&[0, 0, 0, 1])];
                a.extend(self.fill(21));
                a
            }
            0x894f => {
                let len = self.pick(&[6, 6, 6, 2, 1, 8]);
                let mut a = vec![self.byte() & 0x3f, self.byte() & 0xc0 | len];
                a.push(self.pick(&[1, 1, 2, 3]));
                a.extend(self.fill(29));
                a
            }
            0x8847 | 0x8848 => {
                let mut a = vec![];
                for _ in 0..self.pick(&[0, 1, 2, 3, 4]) {
                    let (x, y) = (self.fill(2), self.byte());
                    a.extend([x[0], x[1], y & 0xfe, 64]);
                }
                a.extend([0, 0, 0x11, 64]);
                a.extend(self.ipv4());
                a
            }
            _ => self.fill(20),
        }
    }

    fn ipv4(&mut self) -> Vec<u8> {
        let options = self.pick(&[0, 0, 0, 1, 10]);
        let proto = self.pick(&[6, 6, 17, 17, 132, 1, 2, 58, 47]);
        let l4 = self.l4(proto);
        let tot = 20 + options * 4 + l4.len();
        let mut p = vec![0x45 + options as u8, self.byte()];
        p.extend((tot as u16).to_be_bytes());
        p.extend([0, 0]);
        p.extend(self.pick(&[[0u8, 0], [0, 0], [0x40, 0], [0x20, 0], [0x20, 1], [0, 1]]));
        p.extend([self.byte(), proto, 0, 0]);
        p.extend(self.fill(8 + options * 4));
        p.extend(l4);
        p
    }

    fn ipv6(&mut self) -> Vec<u8> {
        let mut next = self.pick(&[6, 17, 132, 58, 58, 58, 1, 59]);
        let mut body = self.l4(next);
        for _ in 0..self.pick(&[0, 0, 0, 1, 2, 3]) {
            let kind = self.pick(&[0, 43, 44, 51, 60]);
            let mut ext = match kind {
                44 => {
                    let f = self.pick(&[[0u8, 0], [0, 1], [0, 8], [0, 9]]);
                    vec![next, 0, f[0], f[1], 1, 2, 3, 4]
                }
                51 => vec![next, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                _ => vec![next, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            };
            ext.extend(body);
            (body, next) = (ext, kind);
        }
        let mut p = self.fill(4);
        p[0] = 0x60 | p[0] & 15;
        p.extend((body.len() as u16).to_be_bytes());
        p.extend([next, self.byte()]);
        p.extend(self.fill(32));
        p.extend(body);
        p
    }

    fn l4(&mut self, proto: u8) -> Vec<u8> {
        match proto {
            6 => {
                let mut t = self.fill(12);
                let words = self.pick(&[5, 5, 6, 15, 4]);
                t.extend([(words << 4) | self.byte() & 15, self.byte()]);
                t.extend(self.fill(6 + 4));
                t
            }
            58 => {
                let mut t = vec![self.pick(&[135, 136, 136, 128]), self.pick(&[0, 0, 0, 1])];
                t.extend(self.fill(22));
                for _ in 0..self.pick(&[0, 1, 1, 2, 3]) {
                    t.extend([self.pick(&[1, 1, 2, 3]), self.pick(&[1, 1, 1, 2, 0])]);
                    t.extend(self.fill(6));
                }
                t
            }
            _ => {
                let n = self.pick(&[8, 12, 20, 7, 0]);
                self.fill(n)
            }
        }
    }

    /// Lies, cuts and pads.
    fn spoil(&mut self, p: &mut Vec<u8>) {
        while self.one_in(3) {
            match self.byte() % 4 {
                0 => {
                    let n = usize::from(self.byte()) % (p.len() + 1);
                    p.truncate(n);
                }
                1 => {
                    let n = usize::from(self.byte());
                    p.extend(std::iter::repeat_n(0, n));
                }
                _ => {
                    let i = usize::from(self.byte()) % p.len().max(1);
                    let v = self.byte();
                    if let Some(b) = p.get_mut(i) {
                        *b = v;
                    }
                }
            }
            if self.at > self.entropy.len() {
                break;
            }
        }
    }
}
